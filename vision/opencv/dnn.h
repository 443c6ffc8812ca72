#ifndef FACEPRINT_DNN_H
#define FACEPRINT_DNN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fp_net fp_net;

void fp_threads(int n);
fp_net *fp_net_load(const char *onnx, size_t bytes, const char *input, char *err, size_t errlen);
void fp_net_output(fp_net *net, const char *name);
int fp_net_forward(fp_net *net, const int *shape, float *input, char *err, size_t errlen);
const float *fp_net_result(fp_net *net, int i, size_t *len);
void fp_net_free(fp_net *net);

#ifdef __cplusplus
}
#endif
#endif
