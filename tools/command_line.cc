#include "command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "output.h"
#include "verb.h"

namespace cairn::tools {

using Words = std::vector<std::string>;

namespace {

// CLI11 takes a word in brackets apart ("[a,b]": a and b) where an argument may have several. No
// argument of a program contains a zero byte: one after the bracket keeps the word together until
// it is CLI11's to convert.
std::string kept_together(std::string word) {
  if (word.starts_with('[') && word.ends_with(']')) word += '\0';
  return word;
}

std::string as_typed(std::string word) {
  if (word.ends_with('\0')) word.pop_back();
  return word;
}

}  // namespace

Argument Argument::required() {
  option_->required();
  return *this;
}

Argument Argument::check(const Check& why_not) {
  option_->check(why_not);
  return *this;
}

Argument Argument::between(unsigned lowest, unsigned highest) {
  option_->check(CLI::Range(lowest, highest).description(""));
  return *this;
}

Argument Argument::between(double lowest, double highest) {
  option_->check(CLI::Range(lowest, highest).description(""));
  return *this;
}

Argument Argument::one_word() {
  option_->allow_extra_args(false);
  return *this;
}

Argument Argument::excludes(Argument other) {
  option_->excludes(other.option_);
  return *this;
}

Argument Argument::needs(Argument other) {
  option_->needs(other.option_);
  return *this;
}

CommandLine::CommandLine(const char* name, const char* description, const char* footer)
    : app_(std::make_unique<CLI::App>(description, name)) {
  app_->footer(footer);
  app_->get_formatter()->column_width(28);
}

CommandLine::~CommandLine() = default;

template <class T>
Argument CommandLine::add(const char* name, T& value, const char* type, const char* what) {
  return Argument(app_->add_option(name, value, what)->type_name(type)->transform(as_typed));
}

Argument CommandLine::add_flag(const char* name, bool& given, const char* what) {
  return Argument(app_->add_flag(name, given, what));
}

template <class T>
Argument CommandLine::add_call(const char* name, std::function<void(const T&)> take,
                               const char* type, const char* what) {
  auto* const option = app_->add_option_function<T>(name, std::move(take), what);
  return Argument(option->type_name(type)->transform(as_typed));
}

Argument CommandLine::add_each(const char* name, std::function<void(const std::string&)> take,
                               const char* type, const char* what) {
  const auto take_all = [take = std::move(take)](const Words& words) {
    for (const std::string& word : words) take(word);
  };
  auto* const option = app_->add_option_function<Words>(name, take_all, what);
  return Argument(option->type_name(type)->transform(as_typed)).one_word();
}

std::optional<int> CommandLine::parse(Arguments arguments) {
  app_->set_help_flag("-h,--help", "Print this help and exit");
  const std::string name = app_->get_name();
  // CLI11 takes the arguments last first.
  Words reversed(arguments.rbegin(), arguments.rend());
  std::ranges::transform(reversed, reversed.begin(), kept_together);
  try {
    app_->parse(std::move(reversed));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    print(app_->help());
    return kYes;
  } catch (const CLI::ParseError& error) {
    complain(name.substr(std::string("cairn ").size()) + ": " + error.what() + " (see " + name +
             " --help)");
    return kFailed;
  }
}

template Argument CommandLine::add(const char*, std::string&, const char*, const char*);
template Argument CommandLine::add(const char*, Words&, const char*, const char*);
template Argument CommandLine::add(const char*, unsigned&, const char*, const char*);
template Argument CommandLine::add(const char*, std::uint64_t&, const char*, const char*);
template Argument CommandLine::add(const char*, std::vector<std::uint64_t>&, const char*,
                                   const char*);
template Argument CommandLine::add(const char*, std::optional<std::int64_t>&, const char*,
                                   const char*);
template Argument CommandLine::add(const char*, double&, const char*, const char*);
template Argument CommandLine::add(const char*, std::optional<double>&, const char*, const char*);
template Argument CommandLine::add_call(const char*, std::function<void(const std::string&)>,
                                        const char*, const char*);
template Argument CommandLine::add_call(const char*, std::function<void(const double&)>,
                                        const char*, const char*);

}  // namespace cairn::tools
