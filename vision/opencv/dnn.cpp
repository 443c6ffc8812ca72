// What gocv's Net cannot do: catch OpenCV's exceptions, which would end the
// process; read several outputs of one run without leaking their names; and
// set the number of threads.
#include "dnn.h"

#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <string>
#include <vector>

struct fp_net {
	cv::dnn::Net net;
	std::string input;
	std::vector<cv::String> names;
	std::vector<cv::Mat> results;
};

void fp_threads(int n) { cv::setNumThreads(n); }

fp_net *fp_net_load(const char *onnx, size_t bytes, const char *input, char *err, size_t errlen) {
	fp_net *n = nullptr;
	try {
		n = new fp_net;
		n->net = cv::dnn::readNetFromONNX(onnx, bytes);
		n->net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
		n->net.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
		n->input = input;
		if (!n->net.empty())
			return n;
		snprintf(err, errlen, "no layers");
	} catch (const std::exception &e) {
		snprintf(err, errlen, "%s", e.what());
	} catch (...) {
		snprintf(err, errlen, "unknown exception");
	}
	delete n;
	return nullptr;
}

void fp_net_output(fp_net *n, const char *name) { n->names.push_back(name); }

int fp_net_forward(fp_net *n, const int *shape, float *input, char *err, size_t errlen) {
	try {
		n->net.setInput(cv::Mat(4, shape, CV_32F, input), n->input); // copies
		n->net.forward(n->results, n->names);
		for (auto &r : n->results) {
			if (r.type() != CV_32F || !r.isContinuous()) {
				snprintf(err, errlen, "an output is not a block of floats");
				return 0;
			}
		}
		return 1;
	} catch (const std::exception &e) {
		snprintf(err, errlen, "%s", e.what());
	} catch (...) {
		snprintf(err, errlen, "unknown exception");
	}
	return 0;
}

const float *fp_net_result(fp_net *n, int i, size_t *len) {
	if (i < 0 || size_t(i) >= n->results.size()) {
		*len = 0;
		return nullptr;
	}
	*len = n->results[i].total();
	return n->results[i].ptr<float>();
}

void fp_net_free(fp_net *n) { delete n; }
