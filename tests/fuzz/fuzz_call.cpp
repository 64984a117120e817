// Records of API calls as a guest or a probe that was taken over might make them: whatever they
// hold, the text is printable and valid.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "api/call.h"
#include "api/catalogue.h"
#include "base/text.h"

using namespace glasshook;  // NOLINT

namespace {

constexpr const char* kApis = R"(
flags f { A = 0 mask 3 B = 1 mask 3 C = 0x10 D = 0x30 }
enum signal_names { SIGHUP = 1 }
enum e { X = -1 Y = 2 }
enum ntstatus_names { STATUS_SUCCESS = 0 }
enum hresult_names { S_OK = 0 }
enum win32_error_names { ERROR_SUCCESS = 0 ERROR_FILE_NOT_FOUND = 2 }
enum predefined_keys { HKEY_USERS = 0xffffffff80000003 }
struct text 16 { length: u16 @ 0 buffer: utf16[length bytes] @ 8 }
struct counted 16 { len: uint @ 0 data: bytes[len] @ 8 }
struct outer 96 { name: text* @ 0 own: text @ 8 id: GUID @ 24 next: outer* @ 40 plain: string @ 48 wide: utf16[8] @ 56 when: filetime @ 72 sid: SID* @ 80 many: counted*[3] @ 88 }
struct s 24 { a: int @ 0 b: flags<f> @ 4 name: bytes[16] @ 8 }
module m
x: strings(a: string, f: flags<f>, b: path if f & B|C, c: strings, d: utf16) -> fd ! errno
x: buffers(a: bytes[n], out b: bytes[ret], inout c: bytes[n * k], n: size, k: i16) -> ssize ! errno
x: structs(a: s*, out b: s*[n], c: sockaddr*[n], out d: wait_status*, n: int) -> pointer ! null, errno
x: windows(a: outer*, out b: outer*[*n2], c: utf16[n.len bytes], n: counted*, out d: reg_data[*n2, *t], n2: uint*, t: uint*, e: reg_data_ansi[k, k], k: uint, f: SOCKADDR*[k], g: GUID*, h: SID*) -> handle ! last_error
x: statuses(a: ntstatus, b: hresult, c: win32_error, d: hkey, e: filetime, f: bool32, g: counted*) -> ntstatus ! ntstatus
x: results(a: utf16[3]) -> hresult ! hresult
x: scalars(a: bool, b: char, c: signal, d: mode, e: enum<e>, f: errno, g: hex32) -> int ! -errno
)";

void add_record(std::vector<std::byte>& out, std::span<const std::uint8_t>& data,
                capture::RecordKind kind) {
  capture::RecordHeader header;
  header.kind = kind;
  out.resize(sizeof header);
  for (int fields = 0; fields < 8 && data.size() >= 4; ++fields) {
    capture::FieldHeader field;
    field.id = data[0] % 100;
    field.kind = static_cast<capture::FieldKind>(1 + data[1] % 5);
    field.flags = data[2];
    field.detail = data[2];
    const std::size_t length = std::min<std::size_t>(data[3], data.size() - 4);
    field.length = static_cast<std::uint16_t>(
        field.kind == capture::FieldKind::words ? length / 8 * 8 : length / 2 * 2);
    const auto* bytes = reinterpret_cast<const std::byte*>(&field);
    out.insert(out.end(), bytes, bytes + sizeof field);
    const auto* content = reinterpret_cast<const std::byte*>(data.data()) + 4;
    out.insert(out.end(), content, content + field.length);
    out.resize((out.size() + 7) / 8 * 8);
    data = data.subspan(4 + length);
  }
  header.size = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &header, sizeof header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const api::ApiCatalogue catalogue = [] {
    const std::vector<api::SourceFile> files = {{"fuzz.api", kApis}};
    auto parsed = api::ApiCatalogue::parse(files);
    if (!parsed) std::abort();
    return std::move(*parsed);
  }();
  if (size < 1) return 0;
  std::span data{bytes + 1, size - 1};
  std::vector<std::byte> entry_bytes, exit_bytes;
  add_record(entry_bytes, data, capture::RecordKind::entry);
  add_record(exit_bytes, data, capture::RecordKind::exit);
  capture::RecordView entry, exit;
  const bool has_entry = capture::RecordView::parse(entry_bytes, entry);
  const bool has_exit = capture::RecordView::parse(exit_bytes, exit);
  const api::Signature& signature = catalogue.all()[bytes[0] % catalogue.all().size()];
  const api::ApiCall call = api::decode_call(
      catalogue.vocabulary(), signature, has_entry ? &entry : nullptr, has_exit ? &exit : nullptr);
  const std::string text = to_text(call);
  if (to_printable(text) != text || !is_valid_utf8(text)) std::abort();
  return 0;
}
