/* A net in a program without norma:
     train_lenet && norma export lenet.safetensors lenet.c && cc -O3 -I. lenet_in_c.c -lm */
#include "lenet.c"

#include <stdio.h>

int main(void) {
  static uint8_t image[LENET_INPUT];
  static float output[LENET_OUTPUT], scratch[LENET_SCRATCH];
  int best = 0;
  for (int row = 4; row < 24; ++row)
    for (int column = 13; column < 16; ++column) image[row * 28 + column] = 255;
  lenet_run(image, output, scratch);
  for (int i = 1; i < LENET_OUTPUT; ++i)
    if (output[i] > output[best]) best = i;
  printf("a bar: output %d is the largest\n", best);
  return 0;
}
