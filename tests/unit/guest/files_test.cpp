#include "guest/linux/files.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fake_kernel.h"
#include "guest/linux/modules.h"

namespace glasshook::linux_guest {
namespace {

using testing::HasSubstr;

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    task_ = guest_.add_process(5, "nc");
    guest_.put(task_, "task_struct", "files", files_);
    guest_.put(files_, "files_struct", "fdt", table_);
    guest_.put(table_, "fdtable", "max_fds", 4u);
    guest_.put(table_, "fdtable", "fd", array_);
    guest_.finish();
    kernel_.emplace(guest_.kernel());
  }
  /// A file in descriptor 2 that is a socket of that family.
  Gva add_socket(std::uint16_t family) {
    const Gva dentry = guest_.add_dentry({}, "x"), file = guest_.add_file({}, dentry),
              inode = guest_.make("inode"), socket = guest_.make("socket"),
              sock = guest_.make("unix_sock");
    guest_.put(array_ + 16, file.value);
    guest_.put(file, "file", "f_inode", inode);
    guest_.put(inode, "inode", "i_mode", static_cast<std::uint16_t>(S_IFSOCK | 0777));
    guest_.put(file, "file", "private_data", socket);
    guest_.put(socket, "socket", "type", static_cast<std::uint16_t>(SOCK_STREAM));
    guest_.put(socket, "socket", "sk", sock);
    guest_.put(sock, "sock", "__sk_common.skc_family", family);
    return sock;
  }
  std::optional<SocketInfo> socket() {
    const auto files = open_files(*kernel_, task_);
    return files->items.empty() ? std::nullopt : files->items.at(0).socket;
  }

  FakeKernel guest_;
  Gva files_ = guest_.make("files_struct"), table_ = guest_.make("fdtable"),
      array_ = guest_.allocate(64);
  Gva task_;
  std::optional<LinuxKernel> kernel_;
};

TEST_F(FilesTest, SkipsEmptyAndWildDescriptors) {
  add_socket(AF_UNIX);
  guest_.put(array_, std::uint64_t{0x1234});
  const auto files = open_files(*kernel_, task_);
  ASSERT_TRUE(files);
  ASSERT_EQ(files->items.size(), 1u);
  EXPECT_EQ(files->items[0].descriptor, 2u);
  EXPECT_FALSE(files->incomplete);
}

TEST_F(FilesTest, CapsTheTable) {
  guest_.put(table_, "fdtable", "max_fds", 0xffff'ffffu);
  const auto files = open_files(*kernel_, task_);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->incomplete->code, ErrorCode::limit);
  guest_.put(table_, "fdtable", "fd", Gva{0xffff'9999'0000'0000});
  EXPECT_TRUE(open_files(*kernel_, task_)->incomplete);
  guest_.put(files_, "files_struct", "fdt", Gva{0x10});
  EXPECT_FALSE(open_files(*kernel_, task_));
}

TEST_F(FilesTest, ReadsInternetSockets) {
  const Gva sock = add_socket(AF_INET);
  guest_.put(sock, "sock", "__sk_common.skc_rcv_saddr", 0x0100007fu);
  guest_.put(sock, "sock", "__sk_common.skc_num", std::uint16_t{80});
  guest_.put(sock, "sock", "__sk_common.skc_dport", std::uint16_t{0x901f});
  guest_.put(sock, "sock", "__sk_common.skc_state", std::uint8_t{1});
  ASSERT_TRUE(socket());
  EXPECT_EQ(socket()->local.address, "127.0.0.1");
  EXPECT_EQ(socket()->local.port, 80);
  EXPECT_EQ(socket()->remote.port, 8080);
  EXPECT_EQ(socket()->state_name(), "ESTABLISHED");
  guest_.put(sock, "sock", "__sk_common.skc_state", std::uint8_t{200});
  EXPECT_EQ(socket()->state_name(), "UNKNOWN");
}

TEST_F(FilesTest, ReadsUnixNamesWithinTheirCap) {
  const Gva sock = add_socket(AF_UNIX), address = guest_.allocate(256);
  guest_.put(sock, "unix_sock", "addr", address);
  guest_.put_text(address + guest_.offset("unix_address", "name"), "\x01\x00/run/x.sock");
  guest_.put_text(address + guest_.offset("unix_address", "name") + 2, "/run/x.sock");
  guest_.put(address, "unix_address", "len", 2u + 12);
  EXPECT_EQ(socket()->unix_path, "/run/x.sock");
  for (const std::uint32_t length : {0u, 2u, 111u, 0xffff'ffffu}) {
    guest_.put(address, "unix_address", "len", length);
    EXPECT_EQ(socket()->unix_path, "") << length;
  }
}

class ModulesTest : public testing::TestWithParam<FakeVersion> {
 protected:
  ModulesTest() : guest_(GetParam()) {}
  Gva add_module(std::string_view name) {
    const Gva module = guest_.make("module");
    guest_.put_text(module + guest_.offset("module", "name"), name);
    guest_.put(module, "module", "refcnt", 3u);
    const char* place = GetParam().module_memory ? "mem" : "core_layout";
    guest_.put(module, "module", fmt::format("{}.base", place), Gva{0xffff'ffff'c000'0000});
    guest_.put(module, "module", fmt::format("{}.size", place), 0x3000u);
    guest_.list_add(guest_.modules, module + guest_.offset("module", "list"));
    return module;
  }
  FakeKernel guest_;
};

TEST_P(ModulesTest, ListsModules) {
  const Gva first = add_module("overlay");
  add_module(std::string(56, 'n'));
  guest_.finish();
  const auto loaded = modules(guest_.kernel());
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->items.size(), 2u);
  EXPECT_EQ(loaded->items[0].address, first);
  EXPECT_EQ(loaded->items[0].name, "overlay");
  EXPECT_EQ(loaded->items[0].base, Gva{0xffff'ffff'c000'0000});
  EXPECT_EQ(loaded->items[0].size, 0x3000u);
  EXPECT_EQ(loaded->items[0].references, 2);
  EXPECT_EQ(loaded->items[1].name.size(), 56u) << "a name without its NUL";
}

TEST_P(ModulesTest, AddsSymbolsThatLieInModules) {
  const Gva module = add_module("overlay"), tables = guest_.make("mod_kallsyms"),
            symtab = guest_.allocate(24 * 4),
            strtab = guest_.allocate_text(std::string_view("\0ovl_open\0low", 14));
  const auto symbol = [&](std::uint64_t i, std::uint32_t name, std::uint64_t value) {
    guest_.FakeGuest::put(symtab + i * 24, name);
    guest_.FakeGuest::put(symtab + i * 24 + 6, std::uint16_t{1});
    guest_.FakeGuest::put(symtab + i * 24 + 8, value);
  };
  symbol(1, 1, 0xffff'ffff'c000'1000);
  symbol(2, 10, 0xffff'ffff'8100'0010);
  symbol(3, 0xffff'ff00, 0xffff'ffff'c000'2000);
  guest_.put(module, "module", "kallsyms", tables);
  guest_.put(tables, "mod_kallsyms", "symtab", symtab);
  guest_.put(tables, "mod_kallsyms", "strtab", strtab);
  guest_.put(tables, "mod_kallsyms", "typetab", guest_.allocate_text("ttttt"));
  guest_.put(tables, "mod_kallsyms", "num_symtab", 4u);
  guest_.finish();
  const LinuxKernel kernel = guest_.kernel();
  EXPECT_EQ(kernel.symbols().find("ovl_open")->type, 't');
  EXPECT_FALSE(kernel.symbols().find("low")) << "a module cannot name core kernel code";
  EXPECT_EQ(kernel.symbols().size(), kernel.core_symbols().size() + 1);
  guest_.put(tables, "mod_kallsyms", "num_symtab", 0xffff'ffffu);
  EXPECT_LT(module_symbols(kernel, module).size(), 65536u);
}

TEST_P(ModulesTest, CountsReferencesOfAnyNumber) {
  guest_.put(add_module("x"), "module", "refcnt", 0x8000'0000u);
  guest_.finish();
  EXPECT_EQ(modules(guest_.kernel())->items.at(0).references, -2147483649ll);
}

TEST_P(ModulesTest, SeesAListInACircle) {
  const Gva first = add_module("a"), last = add_module("b");
  const auto list = guest_.offset("module", "list");
  guest_.FakeGuest::put(last + list, (first + list).value);
  guest_.finish();
  const auto loaded = modules(guest_.kernel());
  EXPECT_EQ(loaded->items.size(), 2u);
  EXPECT_THAT(loaded->incomplete->message, HasSubstr("circle"));
}

INSTANTIATE_TEST_SUITE_P(Versions, ModulesTest,
                         testing::Values(FakeVersion{}, FakeVersion{.module_memory = false}));

}  // namespace
}  // namespace glasshook::linux_guest
