// A 3 x 5 pixel font for labels in pictures: letters (drawn as capitals), figures and a few marks.
#pragma once
#include <string_view>

namespace norma::app {

inline constexpr int pixel_font_width = 3, pixel_font_height = 5;

// The glyph of c: 15 characters, '#' for ink, row by row. A missing glyph is a filled box.
constexpr std::string_view pixel_glyph(char c) {
  switch (c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c) {
    case ' ': return "...............";
    case '-': return "......###......";
    case '_': return "............###";
    case '.': return ".............#.";
    case '/': return "..#..#.#.#..#..";
    case '+': return "....#.###.#....";
    case ':': return "....#.....#....";
    case '0': return "####.##.##.####";
    case '1': return ".#.##..#..#.###";
    case '2': return "###..#####..###";
    case '3': return "###..#.##..####";
    case '4': return "#.##.####..#..#";
    case '5': return "####..###..####";
    case '6': return "####..####.####";
    case '7': return "###..#..#.#..#.";
    case '8': return "####.#####.####";
    case '9': return "####.####..####";
    case 'A': return ".#.#.#####.##.#";
    case 'B': return "##.#.###.#.###.";
    case 'C': return ".###..#..#...##";
    case 'D': return "##.#.##.##.###.";
    case 'E': return "####..##.#..###";
    case 'F': return "####..##.#..#..";
    case 'G': return ".###..#.##.#.##";
    case 'H': return "#.##.#####.##.#";
    case 'I': return "###.#..#..#.###";
    case 'J': return "..#..#..##.#.#.";
    case 'K': return "#.##.###.#.##.#";
    case 'L': return "#..#..#..#..###";
    case 'M': return "#.########.##.#";
    case 'N': return "##.#.##.##.##.#";
    case 'O': return ".#.#.##.##.#.#.";
    case 'P': return "##.#.###.#..#..";
    case 'Q': return ".#.#.##.###..##";
    case 'R': return "##.#.###.#.##.#";
    case 'S': return ".###...#...###.";
    case 'T': return "###.#..#..#..#.";
    case 'U': return "#.##.##.##.####";
    case 'V': return "#.##.##.##.#.#.";
    case 'W': return "#.##.########.#";
    case 'X': return "#.##.#.#.#.##.#";
    case 'Y': return "#.##.#.#..#..#.";
    case 'Z': return "###..#.#.#..###";
    default: return "###############";
  }
}

}  // namespace norma::app
