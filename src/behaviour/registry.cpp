#include "behaviour/bypass/bypass_family.h"
#include "behaviour/family.h"
#include "behaviour/file/file_family.h"
#include "behaviour/injection/injection_family.h"
#include "behaviour/kernel/kernel_family.h"
#include "behaviour/memory/memory_family.h"
#include "behaviour/module/module_family.h"
#include "behaviour/network/network_family.h"
#include "behaviour/process/process_family.h"
#include "behaviour/windows/bypass_family.h"
#include "behaviour/windows/crypto_family.h"
#include "behaviour/windows/direct_call_family.h"
#include "behaviour/windows/file_family.h"
#include "behaviour/windows/injection_family.h"
#include "behaviour/windows/input_family.h"
#include "behaviour/windows/module_family.h"
#include "behaviour/windows/network_family.h"
#include "behaviour/windows/object_family.h"
#include "behaviour/windows/process_family.h"
#include "behaviour/windows/registry_family.h"
#include "behaviour/windows/request_family.h"
#include "behaviour/windows/service_family.h"
#include "behaviour/windows/time_family.h"

namespace glasshook::behaviour {

std::vector<std::unique_ptr<Family>> make_families() {
  std::vector<std::unique_ptr<Family>> families;
  families.push_back(make_process_family());
  families.push_back(std::make_unique<FileFamily>());
  families.push_back(make_network_family());
  families.push_back(make_injection_family());
  families.push_back(make_memory_family());
  families.push_back(make_module_family());
  families.push_back(make_kernel_family());
  families.push_back(make_bypass_family());
  const auto objects = std::make_shared<windows::Objects>();
  families.push_back(windows::make_process_family(objects));
  families.push_back(std::make_unique<windows::FileFamily>(objects));
  families.push_back(windows::make_registry_family(objects));
  families.push_back(windows::make_request_family(objects));
  families.push_back(windows::make_network_family(objects));
  families.push_back(windows::make_injection_family(objects));
  families.push_back(windows::make_module_family(objects));
  families.push_back(windows::make_service_family(objects));
  families.push_back(windows::make_object_family(objects));
  families.push_back(windows::make_input_family(objects));
  families.push_back(windows::make_crypto_family(objects));
  families.push_back(windows::make_time_family(objects));
  families.push_back(windows::make_bypass_family(objects));
  families.push_back(windows::make_direct_call_family());
  return families;
}

}  // namespace glasshook::behaviour
