// Lists the tensors of a checkpoint, through Cairn's C interface.
package main

// #cgo pkg-config: cairn-c
// #include <cairn/c.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

func text(of C.cairn_string) string { return C.GoStringN(of.data, C.int(of.size)) }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: list PATH")
		os.Exit(2)
	}
	path := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(path))
	var checkpoint *C.cairn_checkpoint
	var failed *C.cairn_error
	if C.cairn_checkpoint_open(path, nil, &checkpoint, &failed) != C.CAIRN_OK {
		fmt.Fprintln(os.Stderr, C.GoString(C.cairn_error_message(failed)))
		os.Exit(1)
	}
	defer C.cairn_checkpoint_free(checkpoint)
	for position := C.size_t(0); position < C.cairn_checkpoint_tensor_count(checkpoint); position++ {
		tensor := C.cairn_checkpoint_tensor_at(checkpoint, position)
		shape := unsafe.Slice((*int64)(C.cairn_tensor_shape(tensor)), C.cairn_tensor_rank(tensor))
		fmt.Println(text(C.cairn_tensor_name(tensor)), text(C.cairn_tensor_dtype_name(tensor)), shape)
	}
}
