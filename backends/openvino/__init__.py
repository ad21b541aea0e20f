"""OpenVINO's runtime on a CPU: matrix products in bfloat16 where the processor has them."""
