// A QEMU plugin that looks at translated code and asks for nothing: what QEMU itself charges for
// being watchable (it then stores the value of every guest memory access).
#include "hypervisor/qemu/plugin_api.h"

extern "C" {
__attribute__((visibility("default"))) int qemu_plugin_version = 4;

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t*, int, char**) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, [](qemu_plugin_id_t, qemu_plugin_tb*) {});
  return 0;
}
}
