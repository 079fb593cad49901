fn main() {
    // Only generates the bridge's C++ half; CMake compiles it with our flags.
    let _ = cxx_build::bridge("src/lib.rs");
    println!("cargo:rerun-if-changed=src/lib.rs");
}
