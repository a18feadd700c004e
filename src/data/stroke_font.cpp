// The strokes of every digit. Points are the design; change them only with a look at `norma data show digits`.
#include "src/data/stroke_font.h"

namespace norma {
namespace {

using P = StrokePoint;

template <class... S>
constexpr Glyph glyph(S... strokes) {
  return {{strokes...}, sizeof...(S)};
}
constexpr Stroke line(P a, P b) { return Stroke::through(a, b); }
template <class... Q>
constexpr Stroke curve(Q... points) {
  return Stroke::through(points...);
}

constexpr Glyph zero[] = {
    glyph(curve(P{4.4, 0.1}, P{1.6, 1.4}, P{0.3, 6}, P{1.4, 10.6}, P{4, 12}, P{6.7, 10.4}, P{7.7, 6}, P{6.6, 1.6}, P{4, 0})),
    glyph(curve(P{5.6, 1}, P{3, 0.2}, P{0.9, 3.4}, P{0.8, 8}, P{2.6, 11.7}, P{5.4, 11.4}, P{7.2, 7.6}, P{7, 3}, P{5, 0.4}, P{3.6, 1}))};
constexpr Glyph one[] = {glyph(line({4, 0}, {4, 12})), glyph(line({1.8, 2.8}, {4.3, 0}), line({4.3, 0}, {4.3, 12})),
                         glyph(line({2, 2.4}, {4.2, 0}), line({4.2, 0}, {4.2, 12}), line({1.8, 12}, {6.6, 12}))};
constexpr Glyph two[] = {glyph(curve(P{0.8, 3}, P{2, 0.7}, P{4.2, 0}, P{6.6, 1.2}, P{6.8, 3.8}, P{4.8, 7}, P{2.4, 9.8}, P{0.4, 12}),
                               curve(P{0.4, 12}, P{4, 11.7}, P{7.6, 12})),
                         glyph(curve(P{0.8, 2.8}, P{2.4, 0.4}, P{5, 0.2}, P{6.8, 2.4}, P{5.6, 6}, P{3, 9.6}, P{1.2, 11.4}, P{0.4, 10.4},
                                     P{1.8, 9.5}, P{4, 10.8}, P{6, 11.8}, P{7.8, 10.8}))};
constexpr Glyph three[] = {glyph(curve(P{0.8, 1.8}, P{2.6, 0.2}, P{5.2, 0.2}, P{6.6, 2.2}, P{5.6, 4.6}, P{3, 5.7}),
                                 curve(P{3, 5.7}, P{5.8, 6.2}, P{7.2, 8.6}, P{6, 11.2}, P{3.4, 12}, P{0.8, 10.6})),
                           glyph(line({0.8, 0.3}, {6.6, 0.3}), line({6.6, 0.3}, {3.2, 4.8}),
                                 curve(P{3.2, 4.8}, P{6, 5.5}, P{7.2, 8.4}, P{6, 11.2}, P{3.2, 12}, P{0.6, 10.6}))};
constexpr Glyph four[] = {
    glyph(curve(P{1.8, 0}, P{1, 3.6}, P{0.5, 6.9}), line({0.5, 6.9}, {7.8, 6.6}), line({5.9, 0.6}, {5.4, 12})),
    glyph(line({5.4, 0}, {0.3, 8}), line({0.3, 8}, {7.9, 8}), line({5.4, 0}, {5.4, 12})),
    glyph(curve(P{1, 0.2}, P{0.6, 3.4}, P{1.1, 6.2}, P{3.6, 6.8}, P{6.4, 5.6}), curve(P{6.9, 0}, P{6.4, 5.6}, P{5.6, 12}))};
constexpr Glyph five[] = {glyph(line({6.9, 0.2}, {1.6, 0.2}), line({1.6, 0.2}, {1.1, 5.4}),
                                curve(P{1.1, 5.4}, P{3.4, 4.4}, P{6, 5.2}, P{7.2, 8}, P{6, 11}, P{3.2, 12}, P{0.6, 10.8})),
                          glyph(curve(P{7.2, 0}, P{5, 0.7}, P{2.6, 0.5}), curve(P{2.6, 0.5}, P{1.7, 2.6}, P{1.6, 5}),
                                curve(P{1.6, 5}, P{4.4, 5}, P{6.4, 7}, P{6.2, 10}, P{4, 11.9}, P{1, 11.6}))};
constexpr Glyph six[] = {
    glyph(curve(P{5.8, 0}, P{3, 2}, P{1.1, 5.4}, P{0.6, 8.8}, P{2, 11.4}, P{4.2, 12}, P{6.4, 10.8}, P{6.8, 8.4}, P{5, 6.5}, P{2.6, 7},
                P{0.8, 9.2})),
    glyph(curve(P{4.6, 0}, P{2.2, 4.2}, P{0.9, 8}, P{1.4, 11}, P{3.8, 12}, P{6, 11}, P{6.4, 8.8}, P{4.6, 7.2}, P{2.2, 8}, P{1, 9.6}))};
constexpr Glyph seven[] = {
    glyph(line({0.6, 0.4}, {7.2, 0.4}), curve(P{7.2, 0.4}, P{5, 5.6}, P{3.4, 12})),
    glyph(line({0.6, 0.6}, {7.2, 0.2}), line({7.2, 0.2}, {2.8, 12}), line({2.2, 6.4}, {6.8, 6})),
    glyph(line({0.7, 2.6}, {0.9, 0.5}), curve(P{0.9, 0.5}, P{4, 0.8}, P{7.2, 0.3}), curve(P{7.2, 0.3}, P{4.8, 5}, P{4, 12}))};
constexpr Glyph eight[] = {glyph(curve(P{6.5, 1.8}, P{4, 0}, P{1.5, 1.6}, P{2.1, 4.1}, P{4.4, 5.8}, P{6.8, 8}, P{6.6, 10.8}, P{4, 12},
                                       P{1.3, 10.8}, P{1.3, 8.2}, P{3.8, 5.8}, P{6, 3.9}, P{6.5, 1.4})),
                           glyph(curve(P{4.4, 0.1}, P{1.8, 1}, P{1.6, 3.6}, P{4, 5.6}, P{6.4, 3.6}, P{6.2, 1}, P{3.8, 0}),
                                 curve(P{4, 5.6}, P{1.4, 7.4}, P{1.1, 10}, P{4, 12}, P{6.9, 10}, P{6.6, 7.4}, P{4, 5.6}))};
constexpr Glyph nine[] = {glyph(curve(P{6.7, 2.2}, P{4.6, 0.1}, P{2, 0.6}, P{0.9, 3}, P{1.8, 5.5}, P{4.2, 6}, P{6.2, 4.4}, P{6.8, 1.6}),
                                curve(P{6.8, 1.2}, P{6.6, 6}, P{5.6, 12})),
                          glyph(curve(P{6.5, 2.4}, P{5, 0.2}, P{2.4, 0.4}, P{1.1, 2.8}, P{1.7, 5.2}, P{4, 5.8}, P{6.2, 4.2}, P{6.8, 1.4}),
                                curve(P{6.8, 1.4}, P{6.9, 6}, P{6, 10.2}, P{3.6, 12}, P{1.4, 11}))};

}  // namespace

std::span<const Glyph> glyphs(int digit) {
  switch (digit) {
    case 0: return zero;
    case 1: return one;
    case 2: return two;
    case 3: return three;
    case 4: return four;
    case 5: return five;
    case 6: return six;
    case 7: return seven;
    case 8: return eight;
    case 9: return nine;
    default: return {};
  }
}

}  // namespace norma
