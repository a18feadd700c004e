// The look of charts: CSS, and its colours for light and dark.
#include "apps/norma/draw/svg.h"

namespace norma::app {

std::string_view chart_style() {
  return R"(svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
svg .tick{fill:var(--muted)}
svg .name{fill:var(--ink)}
svg .caption{fill:var(--ink);font-weight:600;font-size:13px}
svg .head{fill:var(--ink);font-weight:650;font-size:18px}
svg .end{text-anchor:end}
svg .middle{text-anchor:middle}
svg .grid{stroke:var(--grid);fill:none}
svg .axis,svg .rule{stroke:var(--muted);fill:none}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg .line.s0{stroke:var(--series-0)}
svg .line.s1{stroke:var(--series-1)}
svg .line.s2{stroke:var(--series-2)}
svg .line.s3{stroke:var(--series-3)}
svg .line.s4{stroke:var(--series-4);stroke-dasharray:6 4}
svg .line.s5{stroke:var(--series-5);stroke-dasharray:6 4}
svg .line.s6{stroke:var(--series-6);stroke-dasharray:6 4}
svg .line.s7{stroke:var(--series-7);stroke-dasharray:6 4}
svg .points{fill:none;stroke-linecap:round}
svg .points.s0{stroke:var(--series-0)}
svg .points.s1{stroke:var(--series-1);stroke-linecap:square}
svg .region{fill-opacity:.13;stroke:none}
svg .region.s0{fill:var(--series-0)}
svg .region.s1{fill:var(--series-1)}
svg .region.s2{fill:var(--series-2)}
svg .region.s3{fill:var(--series-3)}
svg .region.s4{fill:var(--series-4)}
svg .region.s5{fill:var(--series-5)}
svg .region.s6{fill:var(--series-6)}
svg .region.s7{fill:var(--series-7)}
svg .boundary{fill:none;stroke:var(--ink);stroke-width:1.5;stroke-linecap:round}
svg .ring{fill:none;stroke:var(--bad);stroke-width:1.5}
svg .gap{fill:none;stroke:var(--bad);stroke-width:2}
svg .dot{stroke:var(--surface);stroke-width:1}
svg .dot.s0{fill:var(--series-0)}
svg .dot.s1{fill:var(--series-1)}
svg .dot.s2{fill:var(--series-2)}
svg .dot.s3{fill:var(--series-3)}
svg .dot.s4{fill:var(--series-4)}
svg .dot.s5{fill:var(--series-5)}
svg .dot.s6{fill:var(--series-6)}
svg .dot.s7{fill:var(--series-7)}
svg .paper,svg .box{fill:var(--surface)}
svg .box{stroke:var(--muted)}
svg .hit{fill:none;pointer-events:all}
svg .mark{visibility:hidden;pointer-events:none}
svg .band:hover .mark{visibility:visible}
)";
}

std::string_view colour_style() {
  return R"(:root{color-scheme:light dark;--page:#f4f5f7;--surface:#fff;--ink:#1b1f24;--muted:#59626d;--grid:#e3e6ea;--shade:#59626d59;--series-0:#1a63c9;--series-1:#c4560a;--series-2:#177a46;--series-3:#8e3ca8;--series-4:#806400;--series-5:#0a7484;--series-6:#b8306f;--series-7:#4f5862;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#101317;--surface:#191d23;--ink:#e7eaee;--muted:#9aa4b0;--grid:#2d333b;--shade:#000c;--series-0:#6cacff;--series-1:#ff9f55;--series-2:#4fd08b;--series-3:#d48cf0;--series-4:#e6c84a;--series-5:#4ccbdc;--series-6:#ff85b8;--series-7:#b7c0ca;--bad:#ff8a80}}
)";
}

}  // namespace norma::app
