// An SVG of horizontal bars, which needs no other file: the fonts are those of the reader, and the
// colours, which the colour-blind can tell apart, follow a dark page.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "bench_document.h"
#include "output.h"

namespace cairn::tools {
namespace {

constexpr double kLeft = 170;    // where the bars begin
constexpr double kLength = 400;  // of the longest bar
constexpr double kWidth = 760;
constexpr double kTop = 108;
constexpr double kRow = 24;
constexpr double kLogarithmicFrom = 12;  // times between the least and the greatest

constexpr std::string_view kStyle =
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.title{font-size:16px;font-weight:600}"
    ".small{font-size:11px;fill:#59636e}.page{fill:#ffffff}.grid{stroke:#d1d9e0}"
    ".spread{stroke:#1b1f24}.cairn{fill:#0072b2}.machine{fill:#8c8c8c}.peer{fill:#e69f00}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.page{fill:#0d1117}"
    ".grid{stroke:#3d444d}.spread{stroke:#e6edf3}.cairn{fill:#56b4e9}}";

std::string as_xml(std::string_view text) {
  std::string out;
  std::string rest = safe(text);
  for (std::size_t at = 0; at < rest.size(); ++at) {
    const char c = rest[at];
    const std::string_view three = std::string_view(rest).substr(at, 3);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (three == "\xef\xbf\xbe" || three == "\xef\xbf\xbf") {  // XML has no such character
      out += "?";
      at += 2;
    } else {
      out += c;
    }
  }
  return out;
}

// From seconds to places.
class Axis {
 public:
  explicit Axis(const std::vector<Figure>& rows) {
    double least = 1e9;
    double most = 0;
    for (const Figure& row : rows) {
      least = std::min(least, std::max(row.seconds.min, 1e-9));
      most = std::max({most, row.seconds.max, 1e-9});
    }
    is_logarithmic_ = most > kLogarithmicFrom * least;
    if (is_logarithmic_) {
      first_ = std::floor(std::log10(least));
      last_ = std::max(std::ceil(std::log10(most)), first_ + 1);
      return;
    }
    step_ = std::pow(10, std::floor(std::log10(most)));
    if (most / step_ < 4) step_ /= 2;
    last_ = std::ceil(most / step_) * step_;
  }

  bool is_logarithmic() const { return is_logarithmic_; }

  double place(double seconds) const {
    const double value = is_logarithmic_ ? std::log10(std::max(seconds, 1e-9)) : seconds;
    return kLeft + kLength * std::max(value - first_, 0.0) / (last_ - first_);
  }

  // Seconds.
  std::vector<double> ticks() const {
    std::vector<double> out;
    for (double at = first_; at <= last_ + step_ / 2; at += step_)
      out.push_back(is_logarithmic_ ? std::pow(10, at) : at);
    return out;
  }

 private:
  bool is_logarithmic_ = false;
  double first_ = 0;  // the exponent, if it is logarithmic
  double last_ = 1;
  double step_ = 1;
};

// Of a tick: "10 ms".
std::string short_duration(double seconds) {
  if (seconds <= 0) return "0";
  if (seconds < 0.9995e-6) return fmt::format("{:.3g} ns", seconds * 1e9);
  if (seconds < 0.9995e-3) return fmt::format("{:.3g} µs", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:g} s", seconds);
}

std::string text(double x, double y, std::string_view attributes, std::string_view words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>\n", x, y, attributes,
                     as_xml(words));
}

std::string line(std::string_view kind, double x, double y, double x_end, double y_end) {
  return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", kind, x, y, x_end,
                     y_end);
}

std::string_view name(Group group) {
  switch (group) {
    case Group::Cairn:
      return "cairn";
    case Group::Machine:
      return "machine";
    case Group::Peer:
      break;
  }
  return "peer";
}

std::string bar(const Axis& axis, const Figure& row, double y) {
  const double middle = y + kRow / 2;
  std::string out = text(kLeft - 8, middle + 4, " text-anchor=\"end\"", label(row));
  out += fmt::format(
      "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
      name(row.group), kLeft, y + 4, axis.place(row.seconds.median) - kLeft, kRow - 8);
  out += line("spread", axis.place(row.seconds.min), middle, axis.place(row.seconds.max), middle);
  const auto speed = gigabytes_per_second(row);
  return out + text(axis.place(row.seconds.max) + 6, middle + 4, "",
                    duration(row.seconds.median) +
                        (speed ? fmt::format(", {:.3g} GB/s", *speed) : std::string()));
}

std::string legend(const BenchReport& report, double y) {
  double x = kLeft;
  std::string out;
  for (const auto& [group, words] :
       {std::pair(Group::Cairn, "Cairn"), std::pair(Group::Machine, "the machine, without Cairn"),
        std::pair(Group::Peer, "peers")}) {
    if (std::ranges::find(report.figures, group, &Figure::group) == report.figures.end()) continue;
    out +=
        fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"11\" height=\"11\"/>\n",
                    name(group), x, y - 10);
    out += text(x + 16, y, "", words);
    x += 40 + 7.0 * static_cast<double>(std::string_view(words).size());
  }
  return out;
}

}  // namespace

std::string chart(const BenchOptions& options, const BenchReport& report) {
  const Axis axis(report.figures);
  const double bottom = kTop + kRow * static_cast<double>(report.figures.size());
  const double height = bottom + 44;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\">\n<title>{2}</title>\n<style>{3}</style>\n"
      "<rect class=\"page\" width=\"{0}\" height=\"{1}\"/>\n",
      kWidth, height, as_xml("cairn bench " + options.path), kStyle);
  const auto about = description(report);
  out += text(16, 28, " class=\"title\"", "cairn bench " + options.path);
  out += text(16, 48, " class=\"small\"", fmt::format("{}; {}", about[0], about[1]));
  out += text(16, 64, " class=\"small\"", fmt::format("{}; {}", about[2], about[3]));
  out += legend(report, 92);
  for (const double tick : axis.ticks()) {
    out += line("grid", axis.place(tick), kTop, axis.place(tick), bottom);
    out += text(axis.place(tick), bottom + 14, " class=\"small\" text-anchor=\"middle\"",
                short_duration(tick));
  }
  double y = kTop;
  for (const Figure& row : report.figures) {
    out += bar(axis, row, y);
    y += kRow;
  }
  out +=
      text(kLeft, bottom + 32, " class=\"small\"",
           fmt::format("Median of {} ({} of the first open), and a line from minimum to maximum; "
                       "the scale is {}.",
                       count_of(options.repeat, "run"), report.opened_first,
                       axis.is_logarithmic() ? "logarithmic" : "linear"));
  return out + "</svg>\n";
}

}  // namespace cairn::tools
