#include "common/texmex.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace vectron {
namespace {

class TexmexTest : public testing::Test {
 protected:
  TexmexTest() {
    std::string name = (std::filesystem::temp_directory_path() / "texmex_test.XXXXXX").string();
    dir_ = mkdtemp(name.data());
  }
  ~TexmexTest() override { std::filesystem::remove_all(dir_); }

  std::string Write(const std::string& name, const std::string& bytes) {
    std::string path = dir_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  template <typename T>
  static std::string Record(const std::vector<T>& components, int32_t header) {
    std::string record(sizeof(header) + components.size() * sizeof(T), '\0');
    std::memcpy(record.data(), &header, sizeof(header));
    std::memcpy(record.data() + sizeof(header), components.data(), components.size() * sizeof(T));
    return record;
  }

  std::string dir_;
};

TEST_F(TexmexTest, ReadsFloatsAndBytesAlike) {
  const auto floats =
      VectorFile::Open(Write("a.fvecs", Record<float>({1, 2.5}, 2) + Record<float>({-3, 255}, 2)));
  ASSERT_TRUE(floats.ok()) << floats.status();
  EXPECT_EQ(floats->count(), 2u);
  std::vector<float> row(2);
  floats->CopyRow(1, row);
  EXPECT_EQ(row, (std::vector<float>{-3, 255}));

  const auto bytes = VectorFile::Open(
      Write("a.bvecs", Record<uint8_t>({1, 2, 3}, 3) + Record<uint8_t>({4, 128, 255}, 3)));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->dimension(), 3u);
  row.resize(3);
  bytes->CopyRow(1, row);
  EXPECT_EQ(row, (std::vector<float>{4, 128, 255}));
}

TEST_F(TexmexTest, WhatIsWrittenReadsBack) {
  const std::string path = dir_ + "/t.ivecs";
  auto writer = IdFileWriter::Create(path);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{7, 8}).ok());
  ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{9, 1'000'000}).ok());
  ASSERT_TRUE((*writer)->Close().ok());
  const auto file = IdFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->width(), 2u);
  const auto row = file->Row(1);
  EXPECT_EQ(std::vector<int32_t>(row.begin(), row.end()), (std::vector<int32_t>{9, 1'000'000}));
}

TEST_F(TexmexTest, RefusesWhatIsNotWholeRecordsOfOneDimension) {
  const std::string good = Record<float>({1, 2}, 2);
  const auto message = [&](const std::string& name, const std::string& bytes) {
    const std::string path = Write(name, bytes);
    const auto file = VectorFile::Open(path);
    if (file.ok()) return std::string("accepted");
    const std::string text(file.status().message());
    return text.substr(0, path.size()) == path ? text.substr(path.size() + 2) : text;
  };
  EXPECT_EQ(message("empty.fvecs", ""), "no record in 0 bytes");
  EXPECT_EQ(message("torn.fvecs", good + good.substr(0, 7)), "record 1 is torn: 7 of 12 bytes");
  EXPECT_EQ(message("mixed.fvecs", good + Record<float>({1, 2}, 1)),
            "record 1 has 1 components, those before it 2");
  EXPECT_EQ(message("header.fvecs", Record<float>({1, 2}, -1)),
            "record 0 says it has -1 components; not a TEXMEX file?");
  EXPECT_EQ(message("text.csv", good), "vectors are read from .fvecs and .bvecs files");
  EXPECT_EQ(VectorFile::Open(dir_ + "/none.fvecs").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(VectorFile::Open(dir_ + "/.fvecs").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace vectron
