// Lists the tensors of a checkpoint, through Cairn's C interface and the standard library alone.

use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::null_mut;

#[repr(C)]
struct Text(*const u8, usize); // cairn_string
#[repr(C)]
#[derive(Clone, Copy)]
struct Tensor(*const c_void, usize); // cairn_tensor

#[link(name = "cairn-c")]
extern "C" {
    fn cairn_checkpoint_open(path: *const c_char, options: *const c_void, checkpoint: *mut *mut c_void,
                             error: *mut *mut c_void) -> i32;
    fn cairn_error_message(error: *const c_void) -> *const c_char;
    fn cairn_checkpoint_tensor_count(checkpoint: *const c_void) -> usize;
    fn cairn_checkpoint_tensor_at(checkpoint: *const c_void, position: usize) -> Tensor;
    fn cairn_tensor_name(tensor: Tensor) -> Text;
    fn cairn_tensor_dtype_name(tensor: Tensor) -> Text;
    fn cairn_tensor_rank(tensor: Tensor) -> usize;
    fn cairn_tensor_shape(tensor: Tensor) -> *const i64;
    fn cairn_checkpoint_free(checkpoint: *mut c_void);
}

unsafe fn text(of: Text) -> String {
    String::from_utf8_lossy(std::slice::from_raw_parts(of.0, of.1)).into_owned()
}

fn main() {
    let path = CString::new(std::env::args().nth(1).expect("usage: list PATH")).unwrap();
    let (mut checkpoint, mut error) = (null_mut(), null_mut());
    unsafe {
        if cairn_checkpoint_open(path.as_ptr(), null_mut(), &mut checkpoint, &mut error) != 0 {
            eprintln!("{}", CStr::from_ptr(cairn_error_message(error)).to_string_lossy());
            std::process::exit(1);
        }
        for position in 0..cairn_checkpoint_tensor_count(checkpoint) {
            let tensor = cairn_checkpoint_tensor_at(checkpoint, position);
            let mut shape: &[i64] = &[];
            if cairn_tensor_rank(tensor) > 0 {
                shape = std::slice::from_raw_parts(cairn_tensor_shape(tensor), cairn_tensor_rank(tensor));
            }
            println!("{} {} {:?}", text(cairn_tensor_name(tensor)), text(cairn_tensor_dtype_name(tensor)), shape);
        }
        cairn_checkpoint_free(checkpoint);
    }
}
