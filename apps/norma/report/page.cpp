// The pages' look and their parts.
#include "apps/norma/report/page.h"

#include <fmt/format.h>

#include "apps/norma/draw/markup.h"

namespace norma::app {
namespace {

constexpr std::string_view page_style =
    R"(*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:40px 0 12px}
h3{font-size:15px;margin:20px 0 4px}
p{margin:6px 0 12px;max-width:72ch}
.lead,.words,caption,small,.note{color:var(--muted)}
.status{font-weight:600;overflow-wrap:anywhere}
.status::first-letter{text-transform:uppercase}
.failed{color:var(--bad)}
dl,dd,dt,figure{margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:12px;margin-top:20px}
.tile,figure,.scroll,pre,.facts{background:var(--surface);border:1px solid var(--grid);border-radius:8px}
.tile{padding:12px 14px}
.tile dt{color:var(--muted);font-size:13px}
.tile dd{font-size:22px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.tile small{display:block;font-size:12px;font-weight:400}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
figure{padding:14px 16px;min-width:0}
figcaption{font-weight:600}
.figures figure:only-child{max-width:520px}
.chart{display:block;width:100%;height:auto;margin:6px 0}
.words{font-size:13px;margin:4px 0 8px}
summary{cursor:pointer;padding:4px 0}
figure summary{font-size:13px;color:var(--muted)}
details>.scroll{margin-top:8px}
section>details{margin-bottom:14px}
.scroll{overflow-x:auto;margin:0 0 14px;width:fit-content;max-width:100%;background:linear-gradient(to right,var(--surface) 24px,transparent) left/48px 100% no-repeat local,linear-gradient(to left,var(--surface) 24px,transparent) right/48px 100% no-repeat local,linear-gradient(to right,var(--shade),transparent) left/16px 100% no-repeat scroll,linear-gradient(to left,var(--shade),transparent) right/16px 100% no-repeat scroll var(--surface)}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:8px 10px;font-size:13px}
th,td{text-align:left;padding:5px 10px;border-top:1px solid var(--grid);vertical-align:top;white-space:nowrap}
thead th{color:var(--muted);font-weight:600;border-top:0;vertical-align:bottom}
tbody th{font-weight:500}
tfoot th,tfoot td{font-weight:600}
.n{text-align:right}
.bar{background:linear-gradient(to right,color-mix(in srgb,var(--series-0) 30%,transparent) var(--share),transparent 0)}
.matrix td{border-left:1px solid var(--grid);min-width:44px}
.matrix .none{color:var(--muted)}
.matrix .right{background:color-mix(in srgb,var(--series-0) var(--strength),transparent)}
.matrix .wrong{background:color-mix(in srgb,var(--series-1) var(--strength),transparent)}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(84px,1fr));gap:12px;list-style:none;margin:0 0 16px;padding:0}
.pictures li{min-width:0;font-size:13px;line-height:1.35;overflow-wrap:anywhere}
.pictures img{display:block;width:84px;height:auto;image-rendering:pixelated;border:1px solid var(--grid);border-radius:4px;margin-bottom:3px}
.pictures small,.said{display:block}
.said{font-weight:600}
code,pre,.hash{font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;font-size:12.5px}
pre{margin:0;padding:14px 16px;overflow-x:auto;line-height:1.45}
.facts{padding:6px 16px}
.facts div{display:grid;grid-template-columns:clamp(96px,24%,170px) 1fr;gap:12px;padding:5px 0}
.facts div+div{border-top:1px solid var(--grid)}
.facts dt{color:var(--muted)}
.facts dd{overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--series-0);outline-offset:2px}
@media (max-width:520px){main{padding:20px 12px 40px}h1{font-size:22px}.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile dd{font-size:19px}figure{padding:12px}}
@media print{body{background:none}figure,.tile{break-inside:avoid}}
)";

}  // namespace

std::string open_page(const std::string& title, const std::string& description) {
  // The policy forbids every load and every script, should a name ever slip through unescaped.
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src "
      "data:\"/>\n"
      "<title>{} \xc2\xb7 norma</title>\n<style>\n{}{}{}</style>\n</head>\n<body>\n<main>\n",
      escape(title), colour_style(), chart_style(), page_style);
  out += fmt::format("<header>\n<h1>{}</h1>\n", escape(title));
  if (!description.empty()) out += fmt::format("<p class=\"lead\">{}</p>\n", escape(description));
  return out;
}

std::string_view close_page() { return "</main>\n</body>\n</html>\n"; }

std::string tile(std::string_view name, const std::string& value, std::string_view note) {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}{}</dd></div>\n", name, escape(value),
                     note.empty() ? "" : fmt::format("<small>{}</small>", escape(note)));
}

std::string section(std::string_view name, const std::string& content) {
  return content.empty() ? std::string() : fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", name, content);
}

std::string collapsed(std::string_view summary, const std::string& content) {
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", escape(summary), content);
}

std::string figure(const Chart& whole) {
  const Chart c = thinned(whole, most_rows);
  Table t;
  t.caption = c.title + " by " + c.x_name;
  if (c.x.size() < whole.x.size())
    t.caption += fmt::format(" ({} of {}: where a value is extreme within its part)", c.x.size(), whole.x.size());
  t.columns = {{c.x_name, c.labels.empty()}};
  for (const Series& s : c.series) t.columns.push_back({s.name, true});
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    std::vector<std::string> row = {x_text(c, i)};
    for (const Series& s : c.series) row.push_back(i < s.y.size() ? format_value(s.y[i], c.unit) : "");
    t.rows.push_back(std::move(row));
  }
  return figure(panel(whole), t);
}

std::string figure(const Panel& p, const Table& table) {
  return fmt::format(
      "<figure>\n<figcaption>{0}</figcaption>\n{1}<details><summary>{0} in words and as a table</summary>\n<p class=\"words\">{2}</p>\n"
      "{3}</details>\n</figure>\n",
      escape(p.title), inline_svg(p), escape(p.words), to_html(table));
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : rows) out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value));
  return out + "</dl>\n";
}

}  // namespace norma::app
