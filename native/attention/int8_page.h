// One position into an int8 page; include after a vec_*.h.  The whole numbers are those of ops/quantise.py.
#pragma once

#include "linear/quantise_row.h"

namespace seatrial {
namespace {

// Puts D values as whole numbers at index(d) of `bytes`; returns their scale.
template <typename Place>
float put_bytes(const float* x, i64 D, std::int8_t* bytes, const Place& index) {
  alignas(64) float whole[Vec::width];
  return quantise_row(x, D, D, [&](i64 i, Vec value) {
    Vec::round(value).store(whole);
    for (i64 d = i; d < D && d < i + Vec::width; ++d) bytes[index(d)] = static_cast<std::int8_t>(whole[d - i]);
  });
}

template <typename KeyPlace, typename ValuePlace>
void put_position(i64 D, i64 key, const float* k, const float* v, void* page, const KeyPlace& key_place,
                  const ValuePlace& value_place) {
  auto* scales = static_cast<float*>(page);
  auto* bytes = static_cast<std::int8_t*>(page) + kInt8PageScales;
  scales[key] = put_bytes(k, D, bytes, key_place);
  scales[kPageKeys + key] = put_bytes(v, D, bytes, value_place);
}

}  // namespace
}  // namespace seatrial
