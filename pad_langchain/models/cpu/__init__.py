"""What models decode with on a CPU: packed and int8 products, siblings as one, steps without a model's modules."""
