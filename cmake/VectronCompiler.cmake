# Compiler settings that every target of ours shares.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

# Release keeps our CHECKs (they do not depend on NDEBUG) and enough debug
# information for a useful stack; "Debug" is what tests run: light
# optimisation, libstdc++ assertions on.
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # ccache can reuse a compilation that goes through a precompiled header only
  # when told not to compare its timestamps; relative paths let two checkouts
  # share one cache.
  set(VECTRON_CCACHE
      ${CMAKE_COMMAND} -E env "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
      "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" "CCACHE_NOHASHDIR=1" ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${VECTRON_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${VECTRON_CCACHE})
endif()

add_library(vectron_flags INTERFACE)
target_include_directories(vectron_flags INTERFACE "${CMAKE_SOURCE_DIR}/src")
target_compile_options(vectron_flags INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(vectron_flags INTERFACE -Wthread-safety -Werror=thread-safety)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Wrong under -O3 with gcc 12's inlined std::string and std::vector.
  target_compile_options(vectron_flags INTERFACE -Wno-restrict -Wno-array-bounds
                         -Wno-stringop-overflow -Wno-stringop-overread -Wno-maybe-uninitialized)
  # Precompiled headers and ccache work together only with this.
  add_compile_options(-fpch-preprocess)
endif()

find_program(LLD_PROGRAM ld.lld)
if(LLD_PROGRAM)
  add_link_options(-fuse-ld=lld)
endif()

if(VECTRON_SANITIZE)
  add_compile_options(-fsanitize=${VECTRON_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${VECTRON_SANITIZE})
  if(VECTRON_SANITIZE MATCHES "undefined")
    # What it finds fails the test. But for vptr, which takes the objects of spdlog's and fmt's
    # libraries for others.
    add_compile_options(-fno-sanitize-recover=undefined -fno-sanitize=vptr)
  endif()
  add_compile_definitions(VECTRON_SANITIZED=1)
endif()
