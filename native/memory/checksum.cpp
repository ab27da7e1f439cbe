// Blocks in parallel, eight chains in a block: as fast as memory is read.
#include <cstring>
#include <vector>

#include "seatrial/memory.h"
#include "seatrial/threads.h"

namespace seatrial {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;
constexpr std::uint64_t kPrime = 0x9E3779B97F4A7C15;

std::uint64_t mix(std::uint64_t sum, std::uint64_t word) {
  sum = (sum ^ word) * kPrime;
  return sum ^ (sum >> 32);
}

std::uint64_t block_sum(const char* data, std::size_t bytes) {
  std::uint64_t chains[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::size_t at = 0;
  for (; at + 64 <= bytes; at += 64) {
    std::uint64_t words[8];
    std::memcpy(words, data + at, 64);
    for (int i = 0; i < 8; ++i) chains[i] = mix(chains[i], words[i]);
  }
  std::uint64_t rest[8] = {};
  std::memcpy(rest, data + at, bytes - at);
  std::uint64_t sum = bytes;
  for (int i = 0; i < 8; ++i) sum = mix(mix(sum, chains[i]), rest[i]);
  return sum;
}

}  // namespace

std::uint64_t checksum(const void* data, std::size_t bytes) {
  const std::size_t blocks = (bytes + kBlock - 1) / kBlock;
  std::vector<std::uint64_t> sums(blocks);
  parallel_for(static_cast<i64>(blocks), [&](i64 block) {
    const std::size_t from = static_cast<std::size_t>(block) * kBlock;
    sums[static_cast<std::size_t>(block)] =
        block_sum(static_cast<const char*>(data) + from, bytes - from < kBlock ? bytes - from : kBlock);
  });
  std::uint64_t sum = bytes;
  for (const std::uint64_t part : sums) sum = mix(sum, part);
  return sum;
}

}  // namespace seatrial
