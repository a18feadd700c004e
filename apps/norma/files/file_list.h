// .norma-files, the list of the files that norma wrote in a folder. A file that is not on the list, or has other contents than norma gave
// it, is somebody else's. norma neither replaces nor removes it. A line each; the last line of a name is the newest:
//
//   <sha256>  <name>      a file written as a whole. Its line is written first, so a kill leaves no unlisted file
//   lines     <name>      a file to which lines are appended; its owner says whether all of them are norma's
//   folder    <name>      a folder, such as a comparison's run
#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace norma::app {

class FileList {
 public:
  // Reads the list of a folder, which need not exist yet. Throws Error(data) if the list is not one that norma writes.
  explicit FileList(std::filesystem::path folder);

  bool empty() const { return entries_.empty(); }
  bool names(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> folders() const;

  // True if the file can be replaced or removed without loss: it does not exist, is empty, or has contents that norma gave it. False for a
  // link, a folder and a file that cannot be read.
  bool ours(const std::string& name) const;

  // Adds the file to the list, then calls norma::write_file. Throws Error(usage) naming the file if it exists and is not ours.
  void write(const std::string& name, std::span<const std::byte> bytes);
  void write(const std::string& name, std::string_view text);
  // Takes a file for norma's that is known to be.
  void adopt(const std::string& name);
  void add_lines(const std::string& name) { add("lines", name); }
  void add_folder(const std::string& name) { add("folder", name); }

  // Removes a file that is ours; its owner has looked. Throws Error(failure).
  void remove(const std::string& name) const;
  // Takes them off the list, once they are gone; an empty list goes, too.
  void forget(std::span<const char* const> names);

 private:
  void add(const std::string& what, const std::string& name);
  void shorten();

  // The stat data of a file, by which one just written is recognised without reading it.
  struct Stamp {
    long long device = 0, inode = 0, size = -1, modified = 0, changed = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp(const std::string& name) const;

  std::filesystem::path folder_;
  std::map<std::string, std::vector<std::string>> entries_;  // by name: what stands before it, oldest first
  std::map<std::string, Stamp> written_;
  std::size_t lines_ = 0;
};

inline constexpr const char* file_list_name = ".norma-files";

// The refusal: "DIR/NAME is not as norma wrote it: <remedy>".
[[noreturn]] void refuse_other(const std::filesystem::path& file, const std::string& remedy);

}  // namespace norma::app
