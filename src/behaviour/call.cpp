#include "behaviour/family.h"
#include "hook/word_group.h"

namespace glasshook::behaviour {

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
  return record_->find(static_cast<std::uint16_t>(hook::kFirstCapture + capture));
}

std::uint64_t Call::word(std::size_t capture) const {
  return hook::captured_word(*record_, capture).value_or(0);
}

bool Call::has_word(std::size_t capture) const {
  return hook::captured_word(*record_, capture).has_value();
}

std::string_view Call::text(std::size_t capture) const {
  const capture::FieldView* view = field(capture);
  return view != nullptr ? view->text() : std::string_view{};
}

}  // namespace glasshook::behaviour
