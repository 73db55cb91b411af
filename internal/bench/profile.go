package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// lockFraction is how many contentions of locks go to one that is noted.
const lockFraction = 5

// profiled measures, and writes profiles if the sample is to have any: of the
// processor and of contended locks meanwhile, and of the heap afterwards.
func (x sample) profiled(measured func()) (err error) {
	if x.Profiles == "" {
		measured()
		return nil
	}
	name := filepath.Join(x.Profiles, strings.NewReplacer(" ", "-", "/", "-", ",", "").Replace(x.String()))
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cpu.Close()) }()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	before := runtime.SetMutexProfileFraction(lockFraction)
	measured()
	runtime.SetMutexProfileFraction(before)
	pprof.StopCPUProfile()
	runtime.GC() // what is in use, and no garbage
	for _, kind := range []string{"heap", "mutex"} {
		if err := writeProfile(name+"."+kind, kind); err != nil {
			return err
		}
	}
	return nil
}

func writeProfile(name, kind string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(kind).WriteTo(file, 0), file.Close())
}
