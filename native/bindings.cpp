// The only file that knows Python.  Shapes and types are checked in ops/native.py; here strides are taken as
// they come, in elements, with the last axis contiguous.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>

#include "seatrial/attention.h"
#include "seatrial/cpu.h"
#include "seatrial/linear.h"
#include "seatrial/memory.h"
#include "seatrial/paged.h"
#include "seatrial/pointwise.h"
#include "seatrial/threads.h"

namespace nb = nanobind;
using namespace seatrial;

namespace {

template <typename T, int N>
using In = nb::ndarray<const T, nb::ndim<N>, nb::device::cpu>;
using Result = nb::ndarray<nb::numpy, float>;

// A fresh array from the pool of recycled results.
template <std::size_t N>
Result result(const std::size_t (&shape)[N]) {
  std::size_t count = 1;
  for (std::size_t extent : shape) count *= extent;
  void* data = take_result(count * sizeof(float));
  nb::capsule owner(data, [](void* p) noexcept { give_result(p); });
  return Result(data, N, shape, owner);
}

void require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

i64 extent(std::size_t value) { return static_cast<i64>(value); }

template <typename T>
PackedLinear pack(int level, int precision, const In<T, 2>& weight, const std::optional<In<float, 1>>& bias) {
  require(!bias || bias->shape(0) == weight.shape(0), "bias must have one value per row of the weight");
  nb::gil_scoped_release release;
  return pack_linear(static_cast<Level>(level), static_cast<Precision>(precision), weight.data(),
                     bias ? bias->data() : nullptr, extent(weight.shape(0)), extent(weight.shape(1)));
}

PackedLinear pack_whole(int level, const In<std::int8_t, 2>& values, const In<float, 1>& scale,
                        const std::optional<In<float, 1>>& bias) {
  const std::size_t n = values.shape(0);
  require(scale.shape(0) == n, "scale must have one value per row of the weight");
  require(!bias || bias->shape(0) == n, "bias must have one value per row of the weight");
  nb::gil_scoped_release release;
  return pack_int8(static_cast<Level>(level), values.data(), scale.data(), bias ? bias->data() : nullptr, extent(n),
                   extent(values.shape(1)));
}

PackedLinear pack_grouped(int level, const In<std::uint8_t, 2>& codes, const In<float, 2>& scale,
                          const In<std::uint8_t, 2>& zero, const std::optional<In<float, 1>>& bias) {
  const std::size_t n = codes.shape(0);
  const std::size_t k = codes.shape(1);
  const std::size_t groups = scale.shape(1);
  require(!bias || bias->shape(0) == n, "bias must have one value per row of the weight");
  require(groups != 0 && k % (groups * 32) == 0, "a group must be a multiple of 32 columns");
  require(scale.shape(0) == n && zero.shape(0) == n && zero.shape(1) == groups, "one scale and zero per group");
  nb::gil_scoped_release release;
  return pack_int4(static_cast<Level>(level), codes.data(), scale.data(), zero.data(), bias ? bias->data() : nullptr,
                   extent(n), extent(k), extent(k / groups));
}

const char* precision_name(const PackedLinear& packed) {
  static constexpr const char* names[] = {"f32", "bf16", "int8", "int4"};
  return names[static_cast<int>(packed.precision)];
}

Result linear(const In<float, 2>& x, const PackedLinear& packed, bool gelu,
              const std::optional<In<float, 2>>& residual) {
  require(extent(x.shape(1)) == packed.k, "x must have as many columns as the weight");
  require(!residual || (residual->shape(0) == x.shape(0) && extent(residual->shape(1)) == packed.n),
          "residual must have the shape of the result");
  Result y = result({x.shape(0), static_cast<std::size_t>(packed.n)});
  nb::gil_scoped_release release;
  run_linear(packed, x.data(), x.stride(0), extent(x.shape(0)), gelu, residual ? residual->data() : nullptr,
             y.data());
  return y;
}

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutBytes = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>;

// What `restore` needs: whole numbers, and views of the packed weight's memory.
nb::tuple parts(nb::handle self) {
  const PackedLinear& p = nb::cast<const PackedLinear&>(self);
  const auto view = [&](const Buffer& buffer) {
    static const std::uint8_t nothing = 0;
    const void* data = buffer.bytes() == 0 ? &nothing : buffer.data();
    return OutBytes(static_cast<const std::uint8_t*>(data), {buffer.bytes()}, self);
  };
  return nb::make_tuple(nb::make_tuple(static_cast<int>(p.level), static_cast<int>(p.precision), p.n, p.k, p.k_padded,
                                       p.panel, p.group),
                        nb::make_tuple(view(p.weights), view(p.bias), view(p.scales), view(p.offsets)));
}

PackedLinear restore(int level, int precision, i64 n, i64 k, i64 k_padded, i64 panel, i64 group, const Bytes& weights,
                     const Bytes& bias, const Bytes& scales, const Bytes& offsets) {
  const auto keep = [](const Bytes& bytes) {
    return Buffer(bytes.data(), bytes.size(), std::make_shared<Bytes>(bytes));
  };
  PackedLinear p{static_cast<Level>(level), static_cast<Precision>(precision), n, k, k_padded, panel,
                 keep(weights), keep(bias), keep(scales), keep(offsets), group};
  require(has_whole_parts(p), "the parts do not belong to a weight of these sizes");
  return p;
}

Rows rows_of(const In<float, 2>& x) { return {x.data(), extent(x.shape(0)), extent(x.shape(1)), x.stride(0)}; }

Result layer_norm(int level, const In<float, 2>& x, const In<float, 1>& weight, const In<float, 1>& bias, float eps) {
  require(weight.shape(0) == x.shape(1) && bias.shape(0) == x.shape(1), "weight and bias must have x's columns");
  Result y = result({x.shape(0), x.shape(1)});
  nb::gil_scoped_release release;
  run_layer_norm(static_cast<Level>(level), rows_of(x), weight.data(), bias.data(), eps, y.data());
  return y;
}

Result rms_norm(int level, const In<float, 2>& x, const In<float, 1>& weight, float eps) {
  require(weight.shape(0) == x.shape(1), "weight must have x's columns");
  Result y = result({x.shape(0), x.shape(1)});
  nb::gil_scoped_release release;
  run_rms_norm(static_cast<Level>(level), rows_of(x), weight.data(), eps, y.data());
  return y;
}

Result silu_mul(int level, const In<float, 2>& gate_up) {
  require(gate_up.shape(1) % 2 == 0, "gate_up must have an even number of columns");
  Result y = result({gate_up.shape(0), gate_up.shape(1) / 2});
  nb::gil_scoped_release release;
  run_silu_mul(static_cast<Level>(level), rows_of(gate_up), y.data());
  return y;
}

Result rope(int level, const In<float, 3>& x, const In<float, 2>& cos, const In<float, 2>& sin) {
  const std::size_t half = x.shape(2) / 2;
  require(x.shape(2) % 2 == 0, "the last axis of x must be even");
  require(cos.shape(0) == x.shape(0) && cos.shape(1) == half, "cos must be [S, D/2]");
  require(sin.shape(0) == x.shape(0) && sin.shape(1) == half, "sin must be [S, D/2]");
  Result y = result({x.shape(0), x.shape(1), x.shape(2)});
  nb::gil_scoped_release release;
  run_rope(static_cast<Level>(level), {x.data(), extent(x.shape(0)), extent(x.shape(1)), extent(half), x.stride(0),
                                       x.stride(1), cos.data(), sin.data(), y.data()});
  return y;
}

// Memory for what lies between the steps of one call.
class Between {
 public:
  Between(i64 rows, i64 columns) : data_(static_cast<float*>(take_result(static_cast<std::size_t>(rows * columns) * 4))) {}
  ~Between() { give_result(data_); }
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;
  float* data() const { return data_; }

 private:
  float* data_;
};

Result normed_linear(const In<float, 2>& x, const In<float, 1>& weight, float eps, const PackedLinear& packed) {
  require(weight.shape(0) == x.shape(1), "weight must have x's columns");
  require(extent(x.shape(1)) == packed.k, "x must have as many columns as the weight");
  const i64 rows = extent(x.shape(0));
  Result y = result({x.shape(0), static_cast<std::size_t>(packed.n)});
  nb::gil_scoped_release release;
  const Between normed(rows, packed.k);
  run_rms_norm(packed.level, rows_of(x), weight.data(), eps, normed.data());
  run_linear(packed, normed.data(), packed.k, rows, false, nullptr, y.data());
  return y;
}

Result gated_mlp(const In<float, 2>& x, const In<float, 1>& weight, float eps, const PackedLinear& gate_up,
                 const PackedLinear& down) {
  const i64 rows = extent(x.shape(0));
  require(weight.shape(0) == x.shape(1), "weight must have x's columns");
  require(extent(x.shape(1)) == gate_up.k && down.n == gate_up.k, "x must have as many columns as the weights");
  require(gate_up.n == 2 * down.k, "gate_up must have twice the rows that down has columns");
  require(x.stride(0) == gate_up.k, "rows of x must follow one another");
  Result y = result({x.shape(0), x.shape(1)});
  nb::gil_scoped_release release;
  const Between normed(rows, gate_up.k);
  run_rms_norm(gate_up.level, rows_of(x), weight.data(), eps, normed.data());
  const Between both(rows, gate_up.n);
  run_linear(gate_up, normed.data(), gate_up.k, rows, false, nullptr, both.data());
  const Between gated(rows, down.k);
  run_silu_mul(gate_up.level, {both.data(), rows, gate_up.n, gate_up.n}, gated.data());
  run_linear(down, gated.data(), down.k, rows, false, x.data(), y.data());
  return y;
}

Strided strided(const In<float, 4>& a) { return {a.data(), a.stride(0), a.stride(1), a.stride(2)}; }

Result attention(int level, const In<float, 4>& q, const In<float, 4>& k, const In<float, 4>& v, bool causal,
                 int precision) {
  const std::size_t D = q.shape(3);
  for (std::size_t axis = 0; axis < 4; ++axis) require(k.shape(axis) == v.shape(axis), "k and v must agree in shape");
  require(k.shape(0) == q.shape(0) && k.shape(3) == D, "q and k must agree in batch and head size");
  require(k.shape(2) != 0 && q.shape(2) % k.shape(2) == 0, "the groups of k must divide the heads of q");
  require(k.shape(1) != 0, "there must be at least one key");
  Result y = result({q.shape(0), q.shape(1), q.shape(2), D});
  AttentionCall call{extent(q.shape(0)), extent(q.shape(1)), extent(k.shape(1)), extent(q.shape(2)),
                     extent(k.shape(2)), extent(D),          strided(q),         strided(k),
                     strided(v),         y.data(),           1.0F / std::sqrt(static_cast<float>(D)),
                     causal,             precision == static_cast<int>(Precision::bf16)};
  nb::gil_scoped_release release;
  run_attention(static_cast<Level>(level), call);
  return y;
}

using Ints = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Result paged_attention(int level, const In<float, 3>& q, const In<float, 3>& k, const In<float, 3>& v,
                       const In<float, 2>& cos, const In<float, 2>& sin,
                       const nb::ndarray<std::uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>& pool, int layer,
                       const nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>& tables,
                       const Ints& lengths, const Ints& counts, int precision, bool int8_pages) {
  const bool bf16 = precision == static_cast<int>(Precision::bf16);
  const std::size_t R = q.shape(0), H = q.shape(1), G = k.shape(1), D = q.shape(2);
  require(k.shape(0) == R && v.shape(0) == R && v.shape(1) == G && k.shape(2) == D && v.shape(2) == D,
          "q, k and v must agree in rows and head size");
  require(G != 0 && H % G == 0 && D % 2 == 0, "the groups of k must divide the heads of q, D must be even");
  require(q.stride(1) == extent(D) && k.stride(1) == extent(D) && v.stride(1) == extent(D), "heads must lie together");
  require(cos.shape(0) == R && cos.shape(1) == D / 2 && sin.shape(0) == R && sin.shape(1) == D / 2,
          "cos and sin must be [R, D/2]");
  require(layer >= 0 && static_cast<std::size_t>(layer) < pool.shape(1) && pool.shape(2) == G &&
              extent(pool.shape(3)) == page_bytes(static_cast<Level>(level), extent(D), bf16, int8_pages),
          "pool must be [pages, layers, G, page bytes]");
  require(lengths.shape(0) == tables.shape(0) && counts.shape(0) == tables.shape(0), "one table row per sequence");
  i64 rows = 0;
  for (std::size_t n = 0; n < tables.shape(0); ++n) {
    const i64 end = i64{lengths(n)} + counts(n);
    require(lengths(n) >= 0 && counts(n) >= 0 && end <= extent(tables.shape(1)) * kPageKeys,
            "a table must have a page for every position");
    for (i64 j = 0; j * kPageKeys < end; ++j)
      require(tables(n, j) >= 0 && static_cast<std::size_t>(tables(n, j)) < pool.shape(0), "no such page");
    rows += counts(n);
  }
  require(rows == extent(R), "counts must add up to the rows");
  Result y = result({R, H, D});
  const i64 group_stride = pool.stride(2);
  const PagedCall call{extent(R), extent(H), extent(G), extent(D), q.data(), k.data(), v.data(), q.stride(0),
                       k.stride(0), v.stride(0), cos.data(), sin.data(),
                       reinterpret_cast<char*>(pool.data()) + layer * pool.stride(1), pool.stride(0), group_stride,
                       extent(tables.shape(0)), tables.data(), extent(tables.shape(1)), lengths.data(), counts.data(),
                       1.0F / std::sqrt(static_cast<float>(D)), bf16, y.data(), int8_pages};
  nb::gil_scoped_release release;
  run_paged(static_cast<Level>(level), call);
  return y;
}

// Rows rounded to bfloat16 and widened: what enters a bf16 multiply.  For tests.
Result round_bf16(int level, const In<float, 2>& x) {
  const i64 columns = extent(x.shape(1));
  require(columns % 32 == 0, "columns must be a multiple of 32");
  Result y = result({x.shape(0), x.shape(1)});
  kernel_table(static_cast<Level>(level))
      .round.to_f32(x.data(), x.stride(0), extent(x.shape(0)), columns, columns, y.data());
  return y;
}

std::vector<std::string> levels(bool (*holds)(Level)) {
  std::vector<std::string> names;
  for (int i = kLevels - 1; i >= 0; --i)
    if (holds(static_cast<Level>(i))) names.emplace_back(level_name(static_cast<Level>(i)));
  return names;
}

}  // namespace

NB_MODULE(_native, m) {
  m.attr("ABI") = kAbi;
  m.attr("LEVELS") = nb::make_tuple("generic", "avx2", "avx512", "amx", "neon");
  m.def("compiled_levels", [] { return levels(level_compiled); });
  m.def("available_levels", [] { return levels(level_available); });
  m.def("cpu_features", &cpu_feature_names);
  m.def("threads", &thread_count);

  nb::class_<PackedLinear>(m, "Linear")
      .def_prop_ro("out_features", [](const PackedLinear& p) { return p.n; })
      .def_prop_ro("in_features", [](const PackedLinear& p) { return p.k; })
      .def_prop_ro("precision", &precision_name)
      .def_prop_ro("level", [](const PackedLinear& p) { return static_cast<int>(p.level); })
      .def_prop_ro("nbytes", [](const PackedLinear& p) { return p.bytes(); })
      .def("parts", [](nb::handle self) { return parts(self); });

  m.def("restore", &restore);
  m.def("checksum", [](const Bytes& bytes) {
    nb::gil_scoped_release release;
    return checksum(bytes.data(), bytes.size());
  });

  m.def("pack", &pack<float>, nb::arg("level"), nb::arg("precision"), nb::arg("weight").noconvert(),
        nb::arg("bias").none());
  m.def("pack", &pack<std::uint16_t>, nb::arg("level"), nb::arg("precision"), nb::arg("weight").noconvert(),
        nb::arg("bias").none());
  m.def("pack_int8", &pack_whole, nb::arg("level"), nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("bias").none());
  m.def("pack_int4", &pack_grouped, nb::arg("level"), nb::arg("codes").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("zero").noconvert(), nb::arg("bias").none());
  m.def("linear", &linear, nb::arg("x"), nb::arg("packed"), nb::arg("gelu"), nb::arg("residual").none());
  m.def("normed_linear", &normed_linear, nb::arg("x"), nb::arg("weight"), nb::arg("eps"), nb::arg("packed"));
  m.def("gated_mlp", &gated_mlp, nb::arg("x"), nb::arg("weight"), nb::arg("eps"), nb::arg("gate_up"), nb::arg("down"));
  m.def("layer_norm", &layer_norm, nb::arg("level"), nb::arg("x"), nb::arg("weight"), nb::arg("bias"), nb::arg("eps"));
  m.def("rms_norm", &rms_norm, nb::arg("level"), nb::arg("x"), nb::arg("weight"), nb::arg("eps"));
  m.def("silu_mul", &silu_mul, nb::arg("level"), nb::arg("gate_up"));
  m.def("rope", &rope, nb::arg("level"), nb::arg("x"), nb::arg("cos"), nb::arg("sin"));
  m.def("attention", &attention, nb::arg("level"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("causal"),
        nb::arg("precision"));
  m.attr("PAGE_KEYS") = kPageKeys;
  m.def("page_bytes",
        [](int level, int D, int precision, bool int8_pages) {
          return page_bytes(static_cast<Level>(level), D, precision == static_cast<int>(Precision::bf16), int8_pages);
        },
        nb::arg("level"), nb::arg("head_dim"), nb::arg("precision"), nb::arg("int8_pages"));
  m.def("paged_attention", &paged_attention, nb::arg("level"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("cos"),
        nb::arg("sin"), nb::arg("pool").noconvert(), nb::arg("layer"), nb::arg("tables"), nb::arg("lengths"),
        nb::arg("counts"), nb::arg("precision"), nb::arg("int8_pages"));
  m.def("round_bf16", &round_bf16, nb::arg("level"), nb::arg("x"));
}
