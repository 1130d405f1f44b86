//! Weight-only quantisation: block formats of ONNX Runtime and bitsandbytes.
