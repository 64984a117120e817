#include "behaviour/bypass/import_event.h"

#include "behaviour/support.h"

namespace glasshook::behaviour {

Event import_event(const std::shared_ptr<const Process>& process, const ReplacedImport& replaced,
                   std::chrono::system_clock::time_point time) {
  Event event = make_event("import_replaced");
  event.time = time;
  event.process = process;
  add(event, "glasshook.import.importer", replaced.importer);
  add(event, "glasshook.import.function", replaced.function);
  add(event, "glasshook.import.target", replaced.target);
  add(event, "glasshook.address", hex(replaced.slot));
  return event;
}

}  // namespace glasshook::behaviour
