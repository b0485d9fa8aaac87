pub use lyquor_sys as sys;
