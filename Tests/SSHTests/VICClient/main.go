// vic-client DIRECTORY BED: Go's golang.org/x/crypto/ssh against our server, speaking as VIC's appliance does: user daemon, no
// authentication, channels of type attach. Then each combination of algorithms that both have, with keys. DIRECTORY holds
// user_* and other_* keys; BED is the command that serves one connection. What does not come out as it should ends the program with
// a message; what was done is printed, one line each.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// pipes is the command that serves a connection, as a connection.
type pipes struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
}

func (p pipes) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "bed"} }
func (p pipes) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "bed"} }
func (p pipes) SetDeadline(time.Time) error      { return nil }
func (p pipes) SetReadDeadline(time.Time) error  { return nil }
func (p pipes) SetWriteDeadline(time.Time) error { return nil }

func (p pipes) Close() error {
	err := p.WriteCloser.Close()
	_ = p.command.Wait()
	return err
}

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func expect(is bool, format string, arguments ...interface{}) {
	if !is {
		fail(format, arguments...)
	}
}

func connect(config *ssh.ClientConfig) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	command := exec.Command("sh", "-c", "exec "+os.Args[2])
	stdin, err := command.StdinPipe()
	check(err, "pipe")
	stdout, err := command.StdoutPipe()
	check(err, "pipe")
	command.Stderr = os.Stderr
	check(command.Start(), "start bed")
	connection, channels, requests, err := ssh.NewClientConn(pipes{stdout, stdin, command}, "bed", config)
	if err != nil {
		_ = stdin.Close()
		_ = command.Wait()
	}
	return connection, channels, requests, err
}

// appliance is the configuration of VIC's appliance, with what x/crypto offered by default in 2016 as far as it still knows it.
func appliance() *ssh.ClientConfig {
	config := &ssh.ClientConfig{
		User:              "daemon",
		HostKeyCallback:   ssh.InsecureIgnoreHostKey(),
		ClientVersion:     "SSH-2.0-VIC",
		HostKeyAlgorithms: []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa", "ssh-dss", "ssh-ed25519"},
	}
	config.KeyExchanges = []string{
		"curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group14-sha1",
		"diffie-hellman-group1-sha1",
	}
	config.Ciphers = []string{"aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-gcm@openssh.com", "arcfour256", "arcfour128"}
	config.MACs = []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-256", "hmac-sha1", "hmac-sha1-96"}
	return config
}

func vic() {
	connection, channels, requests, err := connect(appliance())
	check(err, "connect as daemon")
	pushed := make(chan string, 10)
	go func() {
		for request := range requests {
			if request.Type == "container-ids" {
				var ids struct{ List string }
				check(ssh.Unmarshal(request.Payload, &ids), "container-ids pushed")
				pushed <- ids.List
			}
			_ = request.Reply(request.Type == "container-ids", nil)
		}
	}()
	go func() {
		for channel := range channels {
			_ = channel.Reject(ssh.Prohibited, "not here")
		}
	}()
	list := <-pushed
	expect(list == "c0ffee,beef", "the ids pushed are %q", list)
	ok, reply, err := connection.SendRequest("container-ids", true, nil)
	check(err, "container-ids")
	expect(ok && string(reply) == "\x00\x00\x00\x0bc0ffee,beef", "container-ids: %v %x", ok, reply)
	ok, reply, err = connection.SendRequest("version", true, nil)
	check(err, "version")
	expect(ok && bytes.Equal(reply, []byte{0, 0, 0, 10}), "version: %v %x", ok, reply)
	ok, _, err = connection.SendRequest("no-such-thing", true, nil)
	check(err, "an unknown request")
	expect(!ok, "an unknown request is granted")

	for id, text := range map[string]string{"": "attach channel requires ID in ExtraData", "dead": "session dead is invalid"} {
		_, _, err = connection.OpenChannel("attach", []byte(id))
		refusal, is := err.(*ssh.OpenChannelError)
		expect(is && refusal.Reason == ssh.Prohibited && refusal.Message == text, "attach %q: %v", id, err)
	}
	_, _, err = connection.OpenChannel("shell", nil)
	refusal, is := err.(*ssh.OpenChannelError)
	expect(is && refusal.Reason == ssh.UnknownChannelType, "channel type shell: %v", err)

	attach(connection)
	signalled(connection)
	check(connection.Close(), "close")
	fmt.Println("VIC: ids, version, refusals, ping, window-change, unblock, streams, close-stdin, signal")
}

func request(channel ssh.Channel, name string, payload []byte, want bool) {
	ok, err := channel.SendRequest(name, true, payload)
	check(err, name)
	expect(ok == want, "%s: %v", name, ok)
}

func attach(connection ssh.Conn) {
	channel, requests, err := connection.OpenChannel("attach", []byte("c0ffee"))
	check(err, "attach c0ffee")
	go ssh.DiscardRequests(requests)
	request(channel, "ping", []byte("Ping"), true)
	request(channel, "ping", []byte("Pong"), false)
	// There is no terminal.
	size := make([]byte, 16)
	for index, number := range []uint32{80, 24, 0, 0} {
		binary.BigEndian.PutUint32(size[index*4:], number)
	}
	request(channel, "window-change", size, false)
	request(channel, "unblock", []byte("Unblock"), true)
	data := make([]byte, 4<<20)
	rand.New(rand.NewSource(1)).Read(data)
	go func() {
		_, err := channel.Write(data)
		check(err, "write")
		request(channel, "close-stdin", nil, true)
		// EOF: the process has ended of close-stdin, and its channel with it, before there was time to say more.
		if err := channel.CloseWrite(); err != io.EOF {
			check(err, "close the input")
		}
	}()
	errors := make(chan []byte)
	go func() {
		text, err := io.ReadAll(channel.Stderr())
		check(err, "read stderr")
		errors <- text
	}()
	output, err := io.ReadAll(channel)
	check(err, "read stdout")
	expect(sha256.Sum256(output) == sha256.Sum256(data), "%d bytes came back of %d", len(output), len(data))
	text := <-errors
	expect(string(text) == "on stderr\n", "stderr is %q", text)
}

func signalled(connection ssh.Conn) {
	channel, requests, err := connection.OpenChannel("attach", []byte("beef"))
	check(err, "attach beef")
	go ssh.DiscardRequests(requests)
	request(channel, "unblock", []byte("Unblock"), true)
	line := make([]byte, 6)
	_, err = io.ReadFull(channel, line)
	check(err, "read")
	request(channel, "signal", ssh.Marshal(struct{ Name string }{"TERM"}), true)
	rest, err := io.ReadAll(channel)
	check(err, "read")
	expect(string(line)+string(rest) == "ready\ncaught\n", "the output is %q", string(line)+string(rest))
}

func key(name string) ssh.Signer {
	text, err := os.ReadFile(filepath.Join(os.Args[1], name))
	check(err, "read key")
	signer, err := ssh.ParsePrivateKey(text)
	check(err, "parse "+name)
	return signer
}

func algorithms() {
	count := 0
	for _, hostKey := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"} {
		for _, exchange := range []string{"curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"} {
			for _, cipher := range []string{"chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr"} {
				for _, mac := range []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"} {
					config := &ssh.ClientConfig{User: "someone", HostKeyCallback: ssh.InsecureIgnoreHostKey()}
					config.Auth = []ssh.AuthMethod{ssh.PublicKeys(key("user_ed25519"))}
					config.HostKeyAlgorithms = []string{hostKey}
					config.KeyExchanges = []string{exchange}
					config.Ciphers = []string{cipher}
					config.MACs = []string{mac}
					run(config, strings.Join([]string{hostKey, exchange, cipher, mac}, " "))
					count++
				}
			}
		}
	}
	fmt.Printf("%d combinations of algorithms\n", count)
}

func run(config *ssh.ClientConfig, what string) {
	connection, channels, requests, err := connect(config)
	check(err, what)
	client := ssh.NewClient(connection, channels, requests)
	session, err := client.NewSession()
	check(err, what)
	session.Stdin = strings.NewReader("hello")
	output, err := session.Output("cat; exit 3")
	failure, is := err.(*ssh.ExitError)
	expect(is && failure.ExitStatus() == 3 && string(output) == "hello", "%s: %q %v", what, output, err)
	_ = client.Close()
}

func users() {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		for _, whose := range []string{"user", "other"} {
			config := &ssh.ClientConfig{User: "someone", HostKeyCallback: ssh.InsecureIgnoreHostKey()}
			config.Auth = []ssh.AuthMethod{ssh.PublicKeys(key(whose + "_" + kind))}
			connection, _, _, err := connect(config)
			expect((err == nil) == (whose == "user"), "%s_%s: %v", whose, kind, err)
			if err == nil {
				_ = connection.Close()
			}
		}
	}
	fmt.Println("3 keys in, 3 refused")
}

func main() {
	vic()
	users()
	algorithms()
}
