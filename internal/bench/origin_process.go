package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// originVariable is the environment variable that makes the program an origin:
// so its processor time is not the client's.
const originVariable = "CANNEDOS_BENCH_ORIGIN"

// originPlan is what an origin is asked to be.
type originPlan struct {
	URLs  int
	Every time.Duration
}

// What the parent says to an origin, a line each.
const (
	sayLook  = "look"
	sayBegin = "begin"
	sayEnd   = "end"
)

// serveOrigin is an origin: it prints its address, and, for each line that it
// reads, a line of JSON, a verdict. It ends with its input, and returns the exit code.
func serveOrigin(text string, in io.Reader, out, log io.Writer) int {
	var plan originPlan
	err := json.Unmarshal([]byte(text), &plan)
	if err == nil && (plan.URLs < 1 || plan.URLs > maxSize) {
		err = fmt.Errorf("an origin of %d URLs", plan.URLs)
	}
	if err == nil {
		err = obey(newJudge(plan.URLs, plan.Every), in, out)
	}
	if err != nil {
		fmt.Fprintln(log, "bench: origin:", err)
		return 1
	}
	return 0
}

func obey(j *judge, in io.Reader, out io.Writer) error {
	r, err := respond(j)
	if err != nil {
		return err
	}
	defer r.close()
	if _, err := fmt.Fprintln(out, r.listener.Addr()); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var v verdict
		switch lines.Text() {
		case sayLook:
			v = j.look()
		case sayBegin:
			j.begin()
		case sayEnd:
			v = j.end()
		default:
			return fmt.Errorf("told %q", lines.Text())
		}
		if err := json.NewEncoder(out).Encode(v); err != nil {
			return err
		}
	}
	return lines.Err()
}

// origin is the process of one.
type origin struct {
	url string // without a slash at its end
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startOrigin starts a process of this program that is an origin.
func startOrigin(plan originPlan) (*origin, error) {
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := &origin{cmd: exec.Command(program)}
	o.cmd.Env = append(os.Environ(), originVariable+"="+string(text))
	o.cmd.Stderr = os.Stderr
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := o.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start origin: %w", err)
	}
	o.out = bufio.NewReader(out)
	address, err := o.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("address of the origin: %w, and %w", err, o.close())
	}
	o.url = "http://" + address[:len(address)-1]
	return o, nil
}

// say tells the origin something and returns its answer.
func (o *origin) say(what string) (v verdict, err error) {
	if _, err = fmt.Fprintln(o.in, what); err == nil {
		var line []byte
		if line, err = o.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &v)
		}
	}
	if err != nil {
		return v, fmt.Errorf("origin: %s: %w", what, err)
	}
	return v, nil
}

// awaitAll waits until each of n URLs was answered once.
func (o *origin) awaitAll(n int) error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		v, err := o.say(sayLook)
		switch {
		case err != nil || v.Seen >= n:
			return err
		case time.Now().After(end):
			return fmt.Errorf("%d of %d URLs were answered within %v", v.Seen, n, patience)
		}
	}
}

// close ends the process and waits for it.
func (o *origin) close() error {
	o.in.Close()
	if err := o.cmd.Wait(); err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	return nil
}
