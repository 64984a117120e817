// RapidJSON's writer with what rendering guest data needs on top.
#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/base64.h"
#include "base/plain_text.h"
#include "base/text.h"

namespace glasshook::output {

/// RapidJSON's SIMD string scan lets the controls 0x1a..0x1f through unescaped in the packaged
/// version, so it stays off.
class JsonWriter : public rapidjson::Writer<rapidjson::StringBuffer> {
  using Base = rapidjson::Writer<rapidjson::StringBuffer>;

 public:
  using Base::Base;

  void key(std::string_view name) { text(name); }
  void text(std::string_view valid_utf8) {
    if (is_plain_text(valid_utf8))
      plain(valid_utf8);
    else
      Base::String(valid_utf8.data(), size(valid_utf8));
  }

  /// A string of any bytes; what is not UTF-8 becomes U+FFFD. False when that was needed.
  bool bytes(std::string_view any) {
    if (is_plain_text(any)) {
      plain(any);
      return true;
    }
    if (is_valid_utf8(any)) {
      Base::String(any.data(), size(any));
      return true;
    }
    text(to_valid_utf8(any));
    return false;
  }

  /// An array of such strings. False when any of them was not UTF-8.
  bool bytes(std::span<const std::string> all) {
    bool valid = true;
    Base::StartArray();
    for (const std::string& one : all) valid &= bytes(std::string_view{one});
    Base::EndArray();
    return valid;
  }

  void base64(std::string_view any) { text(to_base64(any)); }
  void base64(std::span<const std::string> all) {
    Base::StartArray();
    for (const std::string& one : all) base64(std::string_view{one});
    Base::EndArray();
  }

  /// Members rendered earlier (`"a":1,"b":{}`) into the object that is open; may be empty.
  void members(std::string_view rendered) {
    if (rendered.empty()) return;
    Base::Prefix(rapidjson::kStringType);
    std::memcpy(os_->Push(rendered.size()), rendered.data(), rendered.size());
    level_stack_.template Top<Level>()->valueCount++;  // a key and its value, as far as commas go
  }

 private:
  static rapidjson::SizeType size(std::string_view text) {
    return static_cast<rapidjson::SizeType>(text.size());
  }

  /// A key or a string without anything to escape.
  void plain(std::string_view text) {
    Base::Prefix(rapidjson::kStringType);
    char* out = os_->Push(text.size() + 2);
    *out = '"';
    std::memcpy(out + 1, text.data(), text.size());
    out[text.size() + 1] = '"';
  }
};

}  // namespace glasshook::output
