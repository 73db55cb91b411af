package servers

import (
	"os/exec"
	"runtime"
	"syscall"
)

// tie makes the kernel end the child when we end, however we do. It watches the
// thread that started the child, which therefore must stay until the child has
// ended: the caller keeps the goroutine, and calls the function returned last.
func tie(cmd *exec.Cmd) (unlock func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}
