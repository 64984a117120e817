#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <limits>

#include "api/call.h"
#include "api/format.h"
#include "api/structures.h"
#include "support.h"

namespace glasshook::api {
namespace {

using capture::FieldKind;
using capture::RecordKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kPointer = 0x7ffd0000;

const Signature& signature(std::string_view name) {
  const Signature* found = shipped().find("libc", name);
  EXPECT_NE(found, nullptr) << name;
  static const Signature none;
  return found ? *found : none;
}

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// A call of the shipped libc, from records built by hand.
struct Call {
  explicit Call(std::string_view name) : api(&signature(name)) {}
  Call(const Vocabulary& words, const Signature& s) : vocabulary(&words), api(&s) {}

  Call& with(std::vector<std::uint64_t> arguments) {
    entry.words(kArgumentsField, std::move(arguments));
    return *this;
  }
  Call& points(int parameter, std::string_view data, FieldKind kind = FieldKind::string,
               std::uint8_t flags = 0) {
    entry.field(static_cast<std::uint16_t>(kPointedField + parameter), kind, data, flags);
    return *this;
  }
  Call& gives(int parameter, std::string_view data, FieldKind kind = FieldKind::bytes,
              std::uint8_t flags = 0) {
    exit.field(static_cast<std::uint16_t>(kPointedField + parameter), kind, data, flags);
    return *this;
  }
  Call& returns(std::int64_t result, std::uint64_t error = kUnknownErrno) {
    exit.words(kResultField, {static_cast<std::uint64_t>(result), error});
    return *this;
  }
  [[nodiscard]] ApiCall decode() {
    const capture::RecordView before = entry.view(), after = exit.view();
    return decode_call(*vocabulary, *api, &before, &after);
  }
  [[nodiscard]] std::string text() { return to_text(decode()); }

  const Vocabulary* vocabulary = &shipped().vocabulary();
  const Signature* api;
  RecordBytes entry{RecordKind::entry};
  RecordBytes exit{RecordKind::exit};
};

TEST(DecodeCall, LooksLikeStrace) {
  EXPECT_EQ(Call("open").with({kPointer, 0x80000, 0777}).points(0, "/etc/passwd").returns(3).text(),
            R"(open("/etc/passwd", O_RDONLY|O_CLOEXEC) = 3)");
  EXPECT_EQ(
      Call("open").with({kPointer, 0x241, 0644}).points(0, "/x").returns(0xffffffff, 13).text(),
      R"(open("/x", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 EACCES (Permission denied))");
  EXPECT_EQ(
      Call("openat").with({0xffffff9c, kPointer, 0x410002, 0}).points(1, "/").returns(4).text(),
      R"(openat(AT_FDCWD, "/", O_RDWR|O_TMPFILE, 0) = 4)");
  EXPECT_EQ(Call("mmap").with({0, 4096, 3, 0x22, ~0ull, 0}).returns(0x7f0000001000).text(),
            "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0x0) = "
            "0x7f0000001000");
  EXPECT_EQ(Call("mmap").with({0, 0, 0, 0, ~0ull, 0}).returns(-1, 22).text(),
            "mmap(NULL, 0, PROT_NONE, 0, -1, 0x0) = -1 EINVAL (Invalid argument)");
  EXPECT_EQ(Call("malloc").with({1ull << 60}).returns(0, 12).text(),
            "malloc(1152921504606846976) = NULL ENOMEM (Cannot allocate memory)");
  EXPECT_EQ(Call("kill").with({42, 9}).returns(0).text(), "kill(42, SIGKILL) = 0");
  EXPECT_EQ(Call("exit").with({3}).text(), "exit(3)");
  EXPECT_EQ(Call("free").with({kPointer}).returns(0).text(), "free(0x7ffd0000)");
  EXPECT_EQ(Call("pthread_detach").with({5}).returns(3).text(),
            "pthread_detach(0x5) = 3 ESRCH (No such process)");
  EXPECT_EQ(Call("execl").with({kPointer, kPointer}).points(0, "/bin/sh").points(1, "sh").text(),
            R"(execl("/bin/sh", "sh", ...) = ?)");
  EXPECT_EQ(Call("getaddrinfo").with({0, 0, 0, 0}).returns(-2).text(),
            "getaddrinfo(NULL, NULL, NULL, NULL) = EAI_NONAME");
}

TEST(DecodeCall, OutDataComesWithTheReturn) {
  const ApiCall read = Call("read")
                           .with({3, kPointer, 100})
                           .returns(5)
                           .gives(1, "hello and what lay behind it")
                           .decode();
  EXPECT_EQ(to_text(read), R"(read(3, "hello", 100) = 5)");
  EXPECT_EQ(read.arguments[1].data, "hello");
  EXPECT_FALSE(read.arguments[1].truncated);
  EXPECT_EQ(Call("read").with({3, kPointer, 100}).returns(-1, 9).gives(1, "garbage").text(),
            "read(3, 0x7ffd0000, 100) = -1 EBADF (Bad file descriptor)");
  EXPECT_EQ(Call("read").with({3, kPointer, 9000}).returns(9000).gives(1, "abc").text(),
            R"(read(3, "abc"..., 9000) = 9000)");
  EXPECT_EQ(Call("read").with({3, kPointer, 8}).returns(0).gives(1, "").text(),
            R"(read(3, "", 8) = 0)");
}

TEST(DecodeCall, LengthsMultiply) {
  EXPECT_EQ(Call("fwrite").with({kPointer, 2, 3, 1}).points(0, "abcdefgh", FieldKind::bytes).text(),
            R"(fwrite("abcdef", 2, 3, 0x1) = ?)");
  const ApiCall huge =
      Call("fwrite").with({kPointer, ~0ull, ~0ull, 1}).points(0, "ab", FieldKind::bytes).decode();
  EXPECT_EQ(huge.arguments[0].data, "ab");
}

TEST(DecodeCall, ReadsAgainAtTheReturnWhatFaultedAtEntry) {
  Call call("unlink");
  call.with({kPointer}).points(0, "", FieldKind::string, capture::kFieldFaulted);
  EXPECT_EQ(call.text(), "unlink(0x7ffd0000) = ?");
  EXPECT_TRUE(call.decode().arguments[0].faulted);
  call.returns(0).gives(0, "/tmp/x", FieldKind::string);
  EXPECT_EQ(call.text(), R"(unlink("/tmp/x") = 0)");
  EXPECT_FALSE(call.decode().arguments[0].faulted);
}

TEST(DecodeCall, SaysWhatIsMissing) {
  Call call("open");
  call.with({kPointer, 0}).returns(-1);
  call.entry = RecordBytes(RecordKind::entry, capture::kRecordTruncated | capture::kRecordBudget);
  call.entry.words(kArgumentsField, {kPointer, 0});
  EXPECT_THAT(call.decode().incomplete,
              ElementsAre("the entry record was full", "the capture at entry used up its budget",
                          "errno was not read", "only 2 of 3 arguments were captured"));

  const capture::RecordView after = call.exit.view(), before = call.entry.view();
  const ApiCall no_entry = decode_call(*call.vocabulary, *call.api, nullptr, &after);
  EXPECT_THAT(no_entry.incomplete, ElementsAre("errno was not read", "the entry was not seen"));
  EXPECT_EQ(to_text(no_entry), "open(?, ?) = -1");
  const ApiCall no_exit = decode_call(*call.vocabulary, *call.api, &before, nullptr);
  EXPECT_FALSE(no_exit.returned);
  EXPECT_THAT(no_exit.incomplete, ::testing::Contains("the return was not seen"));
  EXPECT_EQ(decode_call(*call.vocabulary, *call.api, nullptr, nullptr).arguments.size(), 3u);
}

TEST(DecodeCall, ResultsAtTheEdge) {
  Signature f;
  f.name = "f";
  f.result = {.kind = TypeKind::integer,
              .is_signed = true,
              .name = {},
              .length_from = {},
              .length_times = {},
              .spelling = {}};
  f.convention = ResultConvention::errno_if_negative;
  const auto failed = [&](std::int64_t result) {
    return Call(shipped().vocabulary(), f).returns(result).decode().failed;
  };
  EXPECT_FALSE(failed(0));
  EXPECT_TRUE(failed(-1));
  EXPECT_TRUE(failed(-4095));
  EXPECT_FALSE(failed(-4096));
  EXPECT_FALSE(failed(std::numeric_limits<std::int64_t>::min()));
}

TEST(DecodeCall, AGoodCallMissesNothing) {
  EXPECT_THAT(Call("close").with({3}).returns(0, 0).decode().incomplete, IsEmpty());
}

TEST(DecodeCall, GuestTextCannotForgeALine) {
  EXPECT_EQ(Call("unlink").with({kPointer}).points(0, "a\") = 0\nx\\\x1b\xff").text(),
            R"(unlink("a\") = 0\nx\\\x1b\xff") = ?)");
  const ApiCall call = Call("unlink").with({kPointer}).points(0, "a\n\xff").decode();
  EXPECT_EQ(std::get<std::string>(call.arguments[0].value), "a\n\xff") << "machines get the bytes";
}

TEST(DecodeCall, SurvivesFieldsOfTheWrongKind) {
  Call call("connect");
  call.with({3}).points(1, "\x02", FieldKind::bytes).points(0, "?", FieldKind::list);
  EXPECT_THAT(call.text(), HasSubstr("connect(3, "));
  call.entry = RecordBytes(RecordKind::entry);
  call.entry.field(kArgumentsField, FieldKind::string, "not words");
  call.exit.field(kResultField, FieldKind::words, "");
  EXPECT_EQ(call.text(), "connect(?, ?, ?) = ?");
}

TEST(DecodeCall, StringArrays) {
  const ApiCall call =
      Call("execv")
          .with({kPointer, kPointer})
          .points(0, "/bin/echo")
          .points(1, std::string_view("echo\0a b\0", 9), FieldKind::list, capture::kFieldTruncated)
          .decode();
  EXPECT_EQ(to_text(call), R"(execv("/bin/echo", ["echo", "a b", ...]) = ?)");
  EXPECT_THAT(call.arguments[1].list, ElementsAre("echo", "a b"));
  EXPECT_THAT(std::get<std::vector<std::string>>(call.arguments[1].value),
              ElementsAre("echo", "a b"));
}

TEST(DecodeCall, SocketAddresses) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(80);
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto connect = [](std::string_view bytes) {
    return Call("connect")
        .with({3, kPointer, bytes.size()})
        .points(1, bytes, FieldKind::bytes)
        .decode()
        .arguments[1]
        .text;
  };
  EXPECT_EQ(connect(bytes_of(four)), "127.0.0.1:80");
  EXPECT_EQ(connect(bytes_of(four).substr(0, 5)), "{...}");
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(443);
  six.sin6_addr = in6addr_loopback;
  EXPECT_EQ(connect(bytes_of(six)), "[::1]:443");
  using namespace std::string_view_literals;
  EXPECT_EQ(connect("\x01\x00/run/x\0garbage"sv), "unix:/run/x");
  EXPECT_EQ(connect("\x01\x00\0abs\ntract"sv), "unix:@abs\\ntract");
  EXPECT_EQ(connect("\x10\x00\0\0"sv), "AF_NETLINK");
  EXPECT_EQ(connect("\xff\xff"sv), "family 65535");
  EXPECT_EQ(connect("\x01"sv), "{...}");
  EXPECT_EQ(connect("\x01\x00"sv), "unix:");
}

TEST(DecodeCall, Structures) {
  const timespec time{5, 7};
  EXPECT_EQ(
      Call("nanosleep").with({kPointer, 0}).points(0, bytes_of(time), FieldKind::bytes).text(),
      "nanosleep({tv_sec=5, tv_nsec=7}, NULL) = ?");
  EXPECT_EQ(Call("nanosleep")
                .with({kPointer, 0})
                .points(0, bytes_of(time).substr(0, 12), FieldKind::bytes, capture::kFieldTruncated)
                .text(),
            "nanosleep({tv_sec=5, ...}, NULL) = ?");
  const int fds[2] = {3, 4};
  EXPECT_EQ(Call("pipe").with({kPointer}).returns(0).gives(0, bytes_of(fds)).text(),
            "pipe([3, 4]) = 0");
  const int killed = 9;
  EXPECT_EQ(Call("waitpid").with({7, kPointer, 1}).returns(7).gives(1, bytes_of(killed)).text(),
            "waitpid(7, [killed by SIGKILL], WNOHANG) = 7");
  const std::uint64_t vector[4] = {0x1000, 10, 0x2000, 20};
  EXPECT_EQ(
      Call("writev").with({1, kPointer, 2}).points(1, bytes_of(vector), FieldKind::bytes).text(),
      "writev(1, [{iov_base=0x1000, iov_len=10}, {iov_base=0x2000, iov_len=20}], 2) = ?");
  char name[390] = {};
  std::memcpy(name, "Linux", 5);
  EXPECT_THAT(Call("uname").with({kPointer}).returns(0).gives(0, {name, sizeof name}).text(),
              HasSubstr(R"({sysname="Linux", nodename="")"));
}

TEST(DecodeCall, KernelObjects) {
  Signature f;
  f.module = "kernel";
  f.name = "f";
  const auto add = [&](TypeKind kind) {
    Parameter p;
    p.name = "p" + std::to_string(f.parameters.size());
    p.type.kind = kind;
    f.parameters.push_back(p);
  };
  add(TypeKind::kernel_file);
  add(TypeKind::kernel_filename);
  add(TypeKind::kernel_task);
  f.result.kind = TypeKind::integer;
  f.result.size = 4;
  f.result.is_signed = true;
  f.convention = ResultConvention::errno_if_negative;
  Call call(shipped().vocabulary(), f);
  call.with({kPointer, kPointer, kPointer})
      .points(0, std::string_view("passwd\0etc\0", 11), FieldKind::list)
      .points(1, "name")
      .returns(-2);
  call.entry.words(kPointedField + 2, {77});
  call.entry.field(kSecondField + 2, FieldKind::string, "bash");
  EXPECT_EQ(call.text(),
            R"(f("/etc/passwd", "name", 77 "bash") = -2 ENOENT (No such file or directory))");
}

TEST(DecodeCall, PathsOfTheKernel) {
  Signature f;
  f.name = "f";
  f.parameters.push_back({.name = "file", .type = {}, .direction = Direction::in, .only_if = {}});
  f.parameters[0].type.kind = TypeKind::kernel_file;
  using namespace std::string_view_literals;
  const auto show = [&](std::string_view list, std::uint8_t detail) {
    Call call(shipped().vocabulary(), f);
    call.with({kPointer});
    call.entry.field(kPointedField, FieldKind::list, list, 0, detail);
    return call.decode().arguments[0].text;
  };
  EXPECT_EQ(show("b\0a\0"sv, 0), R"("/a/b")");
  EXPECT_EQ(show(""sv, 0), R"("/")");
  EXPECT_EQ(show("b\0a\0"sv, kListDeleted), R"x("/a/b (deleted)")x");
  EXPECT_EQ(show("memfd:x\0"sv, kListUnattached | kListUnreachable), R"("memfd:x")");
  EXPECT_EQ(show("b\0"sv, 1), R"(".../b"...)");
  EXPECT_EQ(show("b"sv, 3), R"(".../b"...)");
}

TEST(DecodeCall, Utf16) {
  Signature f;
  f.name = "f";
  f.parameters.push_back({.name = "text", .type = {}, .direction = Direction::in, .only_if = {}});
  f.parameters[0].type.kind = TypeKind::utf16;
  using namespace std::string_view_literals;
  // "aé", an emoji as a surrogate pair, a lone surrogate.
  EXPECT_EQ(Call(shipped().vocabulary(), f)
                .with({kPointer})
                .points(0, "a\0\xe9\0\x3d\xd8\x00\xde\x00\xd8"sv, FieldKind::utf16)
                .text(),
            "f(\"aé😀\xef\xbf\xbd\") = ?");
}

TEST(PointedData, SaysWhatToCapture) {
  const Vocabulary& words = shipped().vocabulary();
  using Kind = PointedData::Kind;
  EXPECT_EQ(pointed_data(words, signature("open"), 0).kind, Kind::string);
  EXPECT_EQ(pointed_data(words, signature("open"), 1).kind, Kind::none);
  EXPECT_EQ(pointed_data(words, signature("open"), 99).kind, Kind::none);
  EXPECT_EQ(pointed_data(words, signature("execve"), 1).kind, Kind::string_array);
  EXPECT_TRUE(pointed_data(words, signature("read"), 1).count_is_result);
  EXPECT_EQ(pointed_data(words, signature("write"), 1).count_parameter, 2);
  const PointedData fwrite = pointed_data(words, signature("fwrite"), 0);
  EXPECT_EQ(fwrite.count_parameter, 2);
  EXPECT_EQ(fwrite.factor_parameter, 1);
  const PointedData writev = pointed_data(words, signature("writev"), 1);
  EXPECT_EQ(writev.element_size, 16u);
  EXPECT_EQ(writev.count_parameter, 2);
  const PointedData address = pointed_data(words, signature("connect"), 1);
  EXPECT_EQ(address.element_size, 1u) << "its length counts bytes";
  EXPECT_EQ(pointed_data(words, signature("accept"), 1).element_size, 128u);
  const PointedData pipe = pointed_data(words, signature("pipe"), 0);
  EXPECT_EQ(pipe.element_size * pipe.count, 8u);
}

TEST(Format, Flags) {
  const ValueSet set{.name = "s",
                     .is_flags = true,
                     .values = {{"NONE", 0, ~0ull}, {"BOTH", 3, 3}, {"ONE", 1, 1}, {"TWO", 2, 2}}};
  EXPECT_EQ(show_flags(set, 0), "NONE");
  EXPECT_EQ(show_flags(set, 3), "BOTH");
  EXPECT_EQ(show_flags(set, 1), "ONE");
  EXPECT_EQ(show_flags(set, 0x12), "TWO|0x10");
  EXPECT_EQ(show_flags(set, 0x10), "0x10");
  EXPECT_EQ(show_flags({}, 0), "0");
}

TEST(Format, WaitStatus) {
  const StructureLayout* layout = shipped().vocabulary().find_structure("wait_status");
  ASSERT_NE(layout, nullptr);
  const auto show = [&](std::uint32_t status) {
    return show_structures(shipped().vocabulary(), *layout, std::as_bytes(std::span(&status, 1)));
  };
  EXPECT_EQ(show(0x300), "[exit 3]");
  EXPECT_EQ(show(0x8b), "[killed by SIGSEGV, core dumped]");
  EXPECT_EQ(show(0x137f), "[stopped by SIGSTOP]");
  EXPECT_EQ(show(0xffff), "[continued]");
  EXPECT_EQ(show(0x63), "[killed by signal 99]");
}

}  // namespace
}  // namespace glasshook::api
