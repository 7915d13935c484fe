// goroutines.go: Go's goroutines and net package, with the command line of peer_main.c.
//
// Pinned to one CPU the runtime runs one goroutine at a time, as the others do. CPU time is that
// of the process: the collector's and the runtime's own threads count, as they would in use.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer_go:", err)
		os.Exit(1)
	}
}

func serve(conn net.Conn, bufferLen int) {
	defer conn.Close()
	buffer := make([]byte, bufferLen)
	for {
		got, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err = conn.Write(buffer[:got]); err != nil {
			return
		}
	}
}

func echo(size int) {
	bufferLen := size + 1
	if bufferLen < 4096 {
		bufferLen = 4096
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err)
	fmt.Printf("{\"port\": %d, \"loop\": \"go\"}\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept() // sets TCP_NODELAY
		check(err)
		go serve(conn, bufferLen)
	}
}

func yield(count int) {
	var both sync.WaitGroup
	both.Add(2)
	for i := 0; i < 2; i++ {
		go func() {
			for left := count / 2; left > 0; left-- {
				runtime.Gosched()
			}
			both.Done()
		}()
	}
	both.Wait()
}

func spawn(count int) {
	ended := make(chan struct{})
	for ; count > 0; count-- {
		go func() { ended <- struct{}{} }()
		<-ended
	}
}

func cpuNs() int64 {
	const processCPUTime = 2 // CLOCK_PROCESS_CPUTIME_ID
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processCPUTime, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

func timed(name string, operation func(int), count, repeats int) {
	operation(count/10 + 2)
	best := 0.0
	for i := 0; i < repeats; i++ {
		began := cpuNs()
		operation(count)
		ns := float64(cpuNs()-began) / float64(count)
		if i == 0 || ns < best {
			best = ns
		}
	}
	fmt.Printf("{\"peer\": \"go\", \"operation\": \"%s\", \"ns\": %.3f}\n", name, best)
}

func statusField(name string) int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for _, line := range bytes.Split(status, []byte("\n")) {
		if bytes.HasPrefix(line, []byte(name)) {
			value, err := strconv.Atoi(string(bytes.Fields(line)[1]))
			check(err)
			return value
		}
	}
	return 0
}

func sleep(count int) {
	rss, tables, virtual := statusField("VmRSS:"), statusField("VmPTE:"), statusField("VmSize:")
	for i := 0; i < count; i++ {
		go time.Sleep(time.Hour)
	}
	for runtime.NumGoroutine() < count+1 {
		runtime.Gosched()
	}
	time.Sleep(time.Second) // the last ones fall asleep
	fmt.Printf("{\"peer\": \"go\", \"count\": %d, \"rss_bytes\": %d, \"page_table_bytes\": %d, "+
		"\"virtual_bytes\": %d}\n", count, (statusField("VmRSS:")-rss)*1024,
		(statusField("VmPTE:")-tables)*1024, (statusField("VmSize:")-virtual)*1024)
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: peer_go about | echo | yield | spawn | sleep [--count N] ...")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("peer_go", flag.ExitOnError)
	count := flags.Int("count", 1000000, "operations")
	repeats := flags.Int("repeats", 5, "the best of so many")
	size := flags.Int("size", 1024, "bytes of a message")
	check(flags.Parse(os.Args[2:]))
	switch os.Args[1] {
	case "about":
		fmt.Printf("{\"peer\": \"go\", \"version\": \"%s\", \"saves_control_words\": false, "+
			"\"operations\": [\"echo\", \"yield\", \"spawn\", \"sleep\"]}\n", runtime.Version()[2:])
	case "echo":
		echo(*size)
	case "yield":
		timed("yield", yield, *count, *repeats)
	case "spawn":
		timed("spawn", spawn, *count, *repeats)
	case "sleep":
		sleep(*count)
	default:
		os.Exit(2)
	}
}
