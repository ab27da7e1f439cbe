# The test program of the kernels; included by CMakeLists.txt (flags of single files hold in its folder only).
#   SEATRIAL_SANITIZE        what -fsanitize= gets; empty: none, and the kernels are compiled as for users
#   SEATRIAL_EMULATED_TILES  the tile unit in software, on any machine with AVX-512 (BF16 and VNNI)
set(SEATRIAL_SANITIZE "" CACHE STRING "Sanitizers of the test program, for example address,undefined")
option(SEATRIAL_EMULATED_TILES "Run the kernels for AMX on a tile unit in software" OFF)

add_executable(native_check ${sources}
  native/tests/main.cpp native/tests/check.cpp native/tests/exact_memory.cpp native/tests/pool_check.cpp
  native/tests/linear_check.cpp native/tests/quantised_check.cpp native/tests/packing_check.cpp
  native/tests/attention_check.cpp native/tests/paged_check.cpp native/tests/pointwise_check.cpp)
target_compile_definitions(native_check PRIVATE ${definitions})
target_include_directories(native_check PRIVATE native native/include)
target_compile_options(native_check PRIVATE -O3 -Wall -Wextra)
target_link_libraries(native_check PRIVATE Threads::Threads)
if(SEATRIAL_EMULATED_TILES)
  target_compile_definitions(native_check PRIVATE SEATRIAL_EMULATED_TILES)
endif()
if("SEATRIAL_HAVE_AMX" IN_LIST definitions)
  target_sources(native_check PRIVATE native/tests/tiles_check.cpp native/tests/tile_product.cpp)
  get_source_file_property(flags native/linear/amx.cpp COMPILE_OPTIONS)
  set_source_files_properties(native/tests/tile_product.cpp PROPERTIES COMPILE_OPTIONS "${flags}")
endif()
if(SEATRIAL_SANITIZE)
  set(sanitize -fsanitize=${SEATRIAL_SANITIZE} -fno-sanitize-recover=all)
  target_compile_options(native_check PRIVATE ${sanitize} -O1 -g1 -fno-omit-frame-pointer)
  target_link_options(native_check PRIVATE ${sanitize})
endif()
