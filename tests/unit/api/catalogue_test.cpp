#include "api/catalogue.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "support.h"

namespace glasshook::api {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Error error_of(std::vector<SourceFile> files) {
  const Result<ApiCatalogue> parsed = ApiCatalogue::parse(files);
  return parsed ? Error{ErrorCode::io, "no error", ""} : parsed.error();
}

TEST(ModuleStem, CutsPathSuffixAndVersion) {
  EXPECT_EQ(module_stem("libc"), "libc");
  EXPECT_EQ(module_stem("libc.so.6"), "libc");
  EXPECT_EQ(module_stem("/usr/lib/x86_64-linux-gnu/libc-2.31.so"), "libc");
  EXPECT_EQ(module_stem("ld-musl-x86_64.so.1"), "ld-musl-x86_64");
  EXPECT_EQ(module_stem("libc.musl-x86_64.so.1"), "libc.musl-x86_64");
  EXPECT_EQ(module_stem("ld-2.31.so"), "ld");
  EXPECT_EQ(module_stem("C:\\windows\\system32\\KERNEL32.DLL"), "KERNEL32");
  EXPECT_EQ(module_stem("msvcp140-1.dll"), "msvcp140-1");
  EXPECT_EQ(module_stem(".dll"), ".dll");
  EXPECT_EQ(module_stem(""), "");
  EXPECT_EQ(module_stem("/"), "");
}

TEST(Catalogue, FindsByModuleAndObjectNames) {
  const ApiCatalogue& apis = shipped();
  const Signature* open = apis.find("libc", "open");
  ASSERT_NE(open, nullptr);
  EXPECT_EQ(open->category, "file");
  EXPECT_EQ(apis.find("libc.so.6", "open"), open);
  EXPECT_EQ(apis.find("/lib/x86_64-linux-gnu/libc-2.31.so", "open"), open);
  EXPECT_EQ(apis.find("libpthread.so.0", "open"), open);
  EXPECT_EQ(apis.find("libcrypto.so.3", "open"), nullptr);
  EXPECT_EQ(apis.find("libc", "opne"), nullptr);
}

TEST(Catalogue, FindsByGlobAndText) {
  const ApiCatalogue& apis = shipped();
  const auto names = [](const std::vector<const Signature*>& found) {
    std::set<std::string> names;
    for (const Signature* s : found) names.insert(s->name);
    return names;
  };
  EXPECT_THAT(names(apis.find_all("libc!exec*")), Contains("execve"));
  EXPECT_THAT(names(apis.find_all("exec*")), Contains("execvpe"));
  EXPECT_THAT(names(apis.find_all("libc.so.6!mkdir")), ElementsAre("mkdir"));
  EXPECT_THAT(names(apis.find_all("nothing!*")), ElementsAre());
  EXPECT_THAT(names(apis.search("SOCKADDR")), Contains("connect"));
  EXPECT_THAT(names(apis.in_category("module")), Contains("dlopen"));
  EXPECT_THAT(apis.categories(), Contains("network"));
}

TEST(Catalogue, KnowsWhatWasMeant) {
  EXPECT_EQ(shipped().nearest("opne", 3).front(), "libc!open");
  EXPECT_EQ(shipped().nearest("libc.so.6!conect", 1), std::vector<std::string>{"libc!connect"});
  EXPECT_TRUE(shipped().nearest("zzzzzzzzzzzz", 3).empty());
}

TEST(Catalogue, ShipsAboutEveryFunctionThatMatters) {
  EXPECT_GE(shipped().all().size(), 300u);
  for (const char* name :
       {"open",    "openat",         "read",         "rename",  "stat",        "unlink",
        "fork",    "execve",         "posix_spawn",  "waitpid", "ptrace",      "process_vm_writev",
        "mmap",    "mprotect",       "memfd_create", "connect", "getaddrinfo", "dlopen",
        "syscall", "pthread_create", "getenv",       "mount",   "chroot"})
    EXPECT_NE(shipped().find("libc", name), nullptr) << name;
}

TEST(Catalogue, TextOfASignatureParsesToTheSame) {
  for (const Signature& s : shipped().all()) {
    const std::string line = fmt::format("module {}\n{}: {}", s.module, s.category, to_text(s));
    const Result<ParsedFile> parsed = parse_api_file(line, "x");
    ASSERT_TRUE(parsed) << line << ": " << parsed.error().message;
    EXPECT_EQ(parsed->functions.at(0), s) << line;
  }
}

TEST(Catalogue, ChecksNamesAcrossFiles) {
  const SourceFile sets{"sets", "flags open_flags { O_CREAT = 64 }\nenum e { X = 1 }"};
  EXPECT_TRUE(ApiCatalogue::parse(
      std::vector<SourceFile>{{"a", "module m\nx: f(a: flags<open_flags>) -> int"}, sets}));
  const Error unknown = error_of({{"a", "module m\nx: f(a: flags<open_flag>) -> int"}, sets});
  EXPECT_EQ(unknown.message, "a:2:14: unknown set 'open_flag'");
  EXPECT_EQ(unknown.remedy, "did you mean open_flags?");
  const Error kind = error_of({{"a", "module m\nx: f(a: flags<e>) -> int"}, sets});
  EXPECT_THAT(kind.message, HasSubstr("'e' is an enum"));
  const Error condition = error_of(
      {{"a", "module m\nx: f(a: flags<open_flags>, b: int if a & O_CREATE) -> int"}, sets});
  EXPECT_THAT(condition.message, HasSubstr("'O_CREATE' is not in open_flags"));
  EXPECT_EQ(condition.remedy, "did you mean O_CREAT?");
  const Error structure = error_of({{"a", "module m\nx: f(a: sockadr*) -> int"}});
  EXPECT_EQ(structure.remedy, "did you mean sockaddr?");
}

TEST(Catalogue, RefusesDoubleDeclarations) {
  EXPECT_THAT(error_of({{"a", "module m\nx: f() -> int\nx: f() -> int"}}).message,
              HasSubstr("m!f is declared twice"));
  EXPECT_THAT(error_of({{"a", "enum e { A = 1 }"}, {"b", "enum e { A = 1 }"}}).message,
              HasSubstr("b: 'e' is declared in another file too"));
  EXPECT_THAT(error_of({{"a", "struct sockaddr 4 { a: int @ 0 }"}}).message,
              HasSubstr("declared in another file"));
  EXPECT_THAT(error_of({{"a", "module m = x"}, {"b", "module m = y"}}).message,
              HasSubstr("names other objects"));
}

TEST(Catalogue, LowerLayersHideHigherOnes) {
  const std::vector<SourceFile> files = {
      {.name = "written",
       .text = "module m\nx: f(a: e1*) -> int\nenum e { A = 1 }\nstruct e1 8 { a: int @ 4 }",
       .layer = 0},
      {.name = "made",
       .text = "module m = one two\ny: f(b: pointer) -> int\ny: g(e: enum<e>) -> int\n"
               "enum e { B = 1 }\nstruct e1 16 { a: int @ 8 }",
       .layer = 1}};
  const Result<ApiCatalogue> parsed = ApiCatalogue::parse(files);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->all().size(), 2u);
  EXPECT_EQ(parsed->find("TWO.dll", "f")->category, "x");
  EXPECT_EQ(parsed->find("one.dll", "g")->category, "y");
  EXPECT_EQ(parsed->vocabulary().find_set("e")->values[0].name, "A");
  EXPECT_EQ(parsed->vocabulary().structure_size("e1"), 8u);
}

TEST(Catalogue, AnObjectMayHaveTheFunctionsOfSeveralModules) {
  const Result<ApiCatalogue> parsed = ApiCatalogue::parse(std::vector<SourceFile>{
      {"a", "module a = a base\nx: f() -> int"}, {"b", "module b = b base\nx: g() -> int"}});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->find("base.dll", "f")->module, "a");
  EXPECT_EQ(parsed->find("base.dll", "g")->module, "b");
  EXPECT_EQ(parsed->find_all("base!?").size(), 2u);
  EXPECT_EQ(parsed->find("a", "g"), nullptr);
}

TEST(Catalogue, ChecksLengthsInOtherStructures) {
  EXPECT_THAT(error_of({{"a",
                         "struct s 8 { n: hex @ 0 }\nmodule m\n"
                         "x: f(a: bytes[b.n], b: s*) -> int"}})
                  .message,
              HasSubstr("'s' has no integer 'n'"));
  EXPECT_THAT(error_of({{"a", "module m\nx: f(a: bytes[*b], b: sockaddr*) -> int"}}).message,
              HasSubstr("'sockaddr' is no integer"));
}

TEST(Catalogue, SaysWhatItCannotRead) {
  EXPECT_THAT(ApiCatalogue::load("/nonexistent").error().message, HasSubstr("/nonexistent"));
  const auto empty = std::filesystem::path(::testing::TempDir()) / "glasshook-empty-apis";
  std::filesystem::create_directories(empty);
  EXPECT_EQ(ApiCatalogue::load(empty).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace glasshook::api
