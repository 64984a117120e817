#include "behaviour/family.h"

namespace glasshook::behaviour {
namespace {

std::uint16_t field_of(std::size_t capture) {
  return static_cast<std::uint16_t>(hook::kFirstCapture + capture);
}

}  // namespace

std::uint32_t Call::thread_id() const {
  return static_cast<std::uint32_t>(context(hook::kContextPid));
}

std::uint64_t Call::context(hook::ContextWord word) const {
  const capture::FieldView* field = record_->find(hook::kContextField);
  return field != nullptr ? field->word(word) : 0;
}

const capture::FieldView* Call::field(std::size_t capture) const {
  const std::size_t count = spec_->entry.captures.size() + spec_->exit.captures.size();
  if (capture >= count) return nullptr;
  return record_->find(field_of(capture));
}

std::uint64_t Call::word(std::size_t capture) const {
  return record_->find_word(field_of(capture)).value_or(0);
}

bool Call::has_word(std::size_t capture) const {
  return record_->find_word(field_of(capture)).has_value();
}

std::string_view Call::text(std::size_t capture) const {
  const capture::FieldView* view = field(capture);
  return view != nullptr ? view->text() : std::string_view{};
}

}  // namespace glasshook::behaviour
