// howdy recognises frames as Howdy does, for BenchmarkHowdy to be compared with:
// dlib's HOG detector on the frame at 320 rows, upsampled once, 68 points, and the
// ResNet of dlib's face recognition on an aligned chip of 150x150. Howdy itself
// is these calls from Python.
//
//   howdy shape_predictor_68_face_landmarks.dat
//
// Standard input: per frame width and height as 32-bit numbers, then blue, green,
// red of every pixel. Standard output: per frame how many faces there are, and the
// processor time of detection, points, and chip and network, in microseconds.
//
// The network's weights are random: Debian has the trained ones not, and what is
// measured here, the time, does not depend on them. Its answers mean nothing.
#include <dlib/dnn.h>
#include <dlib/image_processing.h>
#include <dlib/image_processing/frontal_face_detector.h>
#include <dlib/image_transforms.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <vector>

using namespace dlib;

// The network of dlib_face_recognition_resnet_model_v1 (dlib's example
// dnn_face_recognition_ex, in the public domain).
template <template <int, template <typename> class, int, typename> class block, int N, template <typename> class BN, typename SUBNET>
using residual = add_prev1<block<N, BN, 1, tag1<SUBNET>>>;
template <template <int, template <typename> class, int, typename> class block, int N, template <typename> class BN, typename SUBNET>
using residual_down = add_prev2<avg_pool<2, 2, 2, 2, skip1<tag2<block<N, BN, 2, tag1<SUBNET>>>>>>;
template <int N, template <typename> class BN, int stride, typename SUBNET>
using block = BN<con<N, 3, 3, 1, 1, relu<BN<con<N, 3, 3, stride, stride, SUBNET>>>>>;
template <int N, typename SUBNET> using ares = relu<residual<block, N, affine, SUBNET>>;
template <int N, typename SUBNET> using ares_down = relu<residual_down<block, N, affine, SUBNET>>;
template <typename SUBNET> using alevel0 = ares_down<256, SUBNET>;
template <typename SUBNET> using alevel1 = ares<256, ares<256, ares_down<256, SUBNET>>>;
template <typename SUBNET> using alevel2 = ares<128, ares<128, ares_down<128, SUBNET>>>;
template <typename SUBNET> using alevel3 = ares<64, ares<64, ares<64, ares_down<64, SUBNET>>>>;
template <typename SUBNET> using alevel4 = ares<32, ares<32, ares<32, SUBNET>>>;
using resnet = loss_metric<fc_no_bias<128, avg_pool_everything<
	alevel0<alevel1<alevel2<alevel3<alevel4<max_pool<3, 3, 2, 2, relu<affine<con<32, 7, 7, 2, 2, input_rgb_image_sized<150>>>>>>>>>>>>>;

static double processor() {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_sec * 1e6 + u.ru_stime.tv_usec;
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: howdy PREDICTOR\n");
		return 2;
	}
	shape_predictor points;
	deserialize(argv[1]) >> points;
	frontal_face_detector detector = get_frontal_face_detector();
	resnet net;
	uint32_t size[2];
	while (fread(size, sizeof size, 1, stdin) == 1) {
		std::vector<unsigned char> pix(size_t(3) * size[0] * size[1]);
		if (fread(pix.data(), pix.size(), 1, stdin) != 1) {
			return 1;
		}
		array2d<rgb_pixel> frame(size[1], size[0]);
		for (uint32_t y = 0; y < size[1]; y++) {
			for (uint32_t x = 0; x < size[0]; x++) {
				const unsigned char *p = &pix[3 * (size_t(y) * size[0] + x)];
				frame[y][x] = rgb_pixel(p[2], p[1], p[0]);
			}
		}
		const double start = processor();
		array2d<rgb_pixel> small(320, 320 * size[0] / size[1]);
		resize_image(frame, small);
		array2d<unsigned char> grey, twice;
		assign_image(grey, small);
		pyramid_up(grey, twice, pyramid_down<2>());
		std::vector<rectangle> faces = detector(twice);
		const double found = processor();
		double placed = found, done = found;
		if (!faces.empty()) {
			pyramid_down<2> pyramid;
			full_object_detection shape = points(small, pyramid.rect_down(faces[0]));
			placed = processor();
			matrix<rgb_pixel> chip;
			extract_image_chip(small, get_face_chip_details(shape, 150, 0.25), chip);
			net(chip);
			done = processor();
		}
		std::cout << faces.size() << ' ' << found - start << ' ' << placed - found << ' ' << done - placed << std::endl;
	}
	return 0;
}
