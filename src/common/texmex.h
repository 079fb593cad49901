#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "common/error.h"

// The file formats of the TEXMEX corpora (http://corpus-texmex.irisa.fr): records
// that each start with a little-endian int32 dimension, followed by that many
// components: float32 (.fvecs), uint8 (.bvecs) or int32 (.ivecs).

namespace vectron {

// A file mapped into memory for reading. Immutable, so thread-safe.
class MappedFile {
 public:
  static StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}

  const char* const data_;
  const size_t size_;
};

// The vectors of one .fvecs or .bvecs file. Immutable, so thread-safe.
class VectorFile {
 public:
  // Reads the whole file's record headers. INVALID_ARGUMENT, naming file and
  // record, for another extension, an empty or torn file, or records of different
  // dimensions; NOT_FOUND.
  static StatusOr<VectorFile> Open(const std::string& path);

  size_t count() const { return count_; }
  uint32_t dimension() const { return dimension_; }

  // Writes row `row` (< count()) to `out` (dimension() floats).
  void CopyRow(size_t row, std::span<float> out) const;

 private:
  std::unique_ptr<MappedFile> file_;
  size_t count_ = 0;
  uint32_t dimension_ = 0;
  bool bytes_ = false;  // components are uint8, else float32
};

// The rows of one .ivecs file, such as a ground truth: row i lists the true
// neighbours of query i, nearest first. Immutable, so thread-safe.
class IdFile {
 public:
  // Errors as VectorFile::Open.
  static StatusOr<IdFile> Open(const std::string& path);

  size_t count() const { return count_; }
  uint32_t width() const { return width_; }
  std::span<const int32_t> Row(size_t row) const;

 private:
  std::unique_ptr<MappedFile> file_;
  size_t count_ = 0;
  uint32_t width_ = 0;
};

// Writes an .ivecs file, row by row. Not thread-safe.
class IdFileWriter {
 public:
  static StatusOr<std::unique_ptr<IdFileWriter>> Create(const std::string& path);
  ~IdFileWriter();
  IdFileWriter(const IdFileWriter&) = delete;
  IdFileWriter& operator=(const IdFileWriter&) = delete;

  Status Append(std::span<const int32_t> row);
  // Must be called for the file to be complete.
  Status Close();

 private:
  IdFileWriter(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  const std::string path_;
  std::FILE* file_;
};

}  // namespace vectron
