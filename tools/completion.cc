// The scripts ask the command itself which verbs and options it has, when the user presses the key.
// So they are right for whatever version is installed, and nobody keeps a list.

#include <map>
#include <string>
#include <string_view>

#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print a script that lets the shell complete verbs, options and file names of cairn.";

constexpr const char* kFooter =
    "Exit status: 0 the script was printed, 2 SHELL is not known.\n\n"
    "Examples:\n"
    "  source <(cairn completion bash)       in ~/.bashrc\n"
    "  source <(cairn completion zsh)        in ~/.zshrc, behind compinit\n"
    "  cairn completion fish | source        in ~/.config/fish/config.fish";

constexpr std::string_view kBash = R"sh(_cairn() {
  local word=${COMP_WORDS[COMP_CWORD]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=$(cairn --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p')
    words="help --help --version $words"
  elif [[ $word == -* ]]; then
    words=$(cairn "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _cairn cairn
)sh";

constexpr std::string_view kZsh = R"sh(_cairn() {
  local found
  if (( CURRENT == 2 )); then
    found=$(cairn --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p')
    compadd -- help --help --version ${(f)found}
  elif [[ $PREFIX == -* ]]; then
    found=$(cairn ${words[2]} --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)
    compadd -- ${(f)found}
  else
    _files
  fi
}
compdef _cairn cairn
)sh";

constexpr std::string_view kFish = R"sh(function __cairn_verbs
  echo help
  cairn --help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p'
end
function __cairn_options
  set -l words (commandline -opc)
  cairn $words[2] --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u
end
function __cairn_wants_option
  not __fish_use_subcommand; and string match -q -- '-*' (commandline -ct)
end
complete -c cairn -n __fish_use_subcommand -f -a '(__cairn_verbs)'
complete -c cairn -n __cairn_wants_option -a '(__cairn_options)'
)sh";

}  // namespace

int completion(Arguments arguments) {
  std::string_view script;
  const std::map<std::string, std::string_view> scripts{
      {"bash", kBash}, {"fish", kFish}, {"zsh", kZsh}};
  CommandLine line("cairn completion", kDescription, kFooter);
  line.add_choice("SHELL", script, scripts, "", "bash, fish or zsh").required();
  if (const auto exit = line.parse(arguments)) return *exit;
  print(script);
  return kYes;
}

}  // namespace cairn::tools
