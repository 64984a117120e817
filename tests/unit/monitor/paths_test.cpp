#include "monitor/paths.h"

#include <gtest/gtest.h>

namespace glasshook::monitor {
namespace {

TEST(PathThrough, PutsThePathBehindTheMountPoint) {
  const std::vector<Mounted> root{{.part = "/", .path = "/"}};
  EXPECT_EQ(path_through(root, "/etc/passwd"), "/etc/passwd");
  EXPECT_EQ(path_through(root, "/"), "/");
  const std::vector<Mounted> tmp{{.part = "/", .path = "/tmp"}};
  EXPECT_EQ(path_through(tmp, "/file"), "/tmp/file");
  EXPECT_EQ(path_through(tmp, "/"), "/tmp");
}

TEST(PathThrough, TakesTheFirstMountThatShowsTheFile) {
  const std::vector<Mounted> binds{{.part = "/engine/id/hosts", .path = "/etc/hosts"},
                                   {.part = "/srv/data", .path = "/data"}};
  EXPECT_EQ(path_through(binds, "/srv/data/x"), "/data/x");
  EXPECT_EQ(path_through(binds, "/engine/id/hosts"), "/etc/hosts");
  EXPECT_EQ(path_through(binds, "/srv/database"), "/srv/database") << "another directory";
  EXPECT_EQ(path_through(binds, "/elsewhere"), "/elsewhere");
  EXPECT_EQ(path_through({}, "/x"), "/x");
}

TEST(PathThrough, ARootDirectoryInsideAMountIsTheRoot) {
  const std::vector<Mounted> jail{{.part = "/box/root", .path = "/"},
                                  {.part = "/", .path = "/tmp"}};
  EXPECT_EQ(path_through(jail, "/box/root/etc"), "/etc");
  EXPECT_EQ(path_through(jail, "/box/root"), "/");
  EXPECT_EQ(path_through(jail, "/box/other"), "/tmp/box/other");
}

}  // namespace
}  // namespace glasshook::monitor
