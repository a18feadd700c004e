// Points of two classes in the plane with what a net makes of the plane around them, as SVG.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/norma/draw/svg.h"
#include "norma/trainer.h"

namespace norma::app {

struct Scatter {
  struct Point {
    double x, y;
    int label;      // 0 or 1
    bool mistaken;  // the net says the other one
  };
  std::string title;
  std::string names[2];  // of the classes
  std::vector<Point> points;
  double reach = 1;  // the picture is the square from -reach to reach in both directions
  // margin[row * side + column]: above 0 where the net says class 1. Row 0 is y = -reach, column 0 x = -reach, both ends included; empty:
  // no net.
  std::int64_t side = 0;
  std::vector<double> margin;
};

// The scatter plot of data with two features and two classes, with the trainer's current net. Other data give nothing. At most 4000 points.
std::optional<Scatter> scatter_of(const DatasetPair& data, Trainer& trainer);

// The square that holds the points, ending at ticks.
double reach_of(const std::vector<Scatter::Point>& points);

// Pieces of the line on which the margin is 0, in the points' coordinates: x0, y0, x1, y1. Marching squares; values that are not finite
// have none around them.
struct Segment {
  double x0, y0, x1, y1;
};
std::vector<Segment> boundary(const Scatter& s);

// "1000 points outer, 1000 inner, 3 of them, ringed, on the wrong side of the net's boundary."
std::string describe(const Scatter& s);

// Panels for a page, and as part of a picture of charts.
Panel large_panel(const Scatter& s);
Panel panel(const Scatter& s);

}  // namespace norma::app
