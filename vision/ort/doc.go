// Package ort runs networks on ONNX Runtime, about twice as fast as OpenCV's
// dnn on the same processor and with the same outputs. Its library is not
// linked but opened when asked for, so a device without it still has OpenCV.
//
// Written for ONNX Runtime 1.24 (API 24), which `make fetch` brings; an older
// library is refused. One thread a network, and none that spins: a second one
// gained at most 1.4 times for twice the processor time.
package ort
