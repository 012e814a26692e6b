import CLinux
import Linux
import SessionLog
import Testing

@testable import VirtualMachine

/// Boots real kernels: the bridge, the channels and the ends of a run.
@Suite(.serialized) struct MachineTests {
    @Test(.timeLimit(.minutes(5))) func servesRpctoolInSeveralProcesses() throws {
        let guest = try TestGuest(
            script: """
                get hello > /tmp/out
                set_ answer 'forty two'; get answer >> /tmp/out
                get missing 2>> /tmp/out
                get large | head -c 300000 | sha256sum >> /tmp/out
                for i in 1 2 3 4; do
                  ( for j in 1 2 3; do set_ "key$i.$j" "value$i.$j" > /dev/null; [ "$(get key$i.$j)" = "value$i.$j" ] || echo "wrong $i $j"; done ) &
                done >> /tmp/out
                wait
                echo "kernel $(grep -c processor /proc/cpuinfo)" >> /tmp/out
                echo problem > /tmp/err
                while read -r line; do record stdout "$line"; done < /tmp/out
                record stderr problem
                record event '{"event":"exit","id":"c","exitCode":42,"coreDumped":false,"oomKilled":false,"drain":"eof","stdout":'"$(total /tmp/out)"',"stderr":'"$(total /tmp/err)"'}'
                """)
        let large = (0..<300_000).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        let result = try guest.run {
            $0.machine.cpus = 2
            $0.variables = ["guestinfo.hello": Array("world".utf8), "guestinfo.large": large]
        }
        var digest = StreamDigest()
        digest.update(large)
        #expect(result.stdout == "world\nforty two\nNo value found\n\(digest.total.sha256)  -\nkernel 2", "\(result.messages)")
        #expect(result.stderr == "problem")
        #expect(result.code == 42)
        #expect(result.messages.isEmpty)
    }

    @Test(.timeLimit(.minutes(5))) func distrustsAnIncompleteLog() throws {
        let guest = try TestGuest(
            script: """
                echo -n > /tmp/empty; echo one > /tmp/out
                record event '{"event":"exit","id":"c","exitCode":0,"coreDumped":false,"oomKilled":false,"drain":"eof","stdout":'"$(total /tmp/out)"',"stderr":'"$(total /tmp/empty)"'}'
                """)
        let result = try guest.run()
        #expect(result.code == ContainerRun.failureCode)
        #expect(result.messages.contains("stdout: 0 bytes arrived of the 4 that the container wrote"))
    }

    @Test(.timeLimit(.minutes(5))) func takesTheStatusWhereTheRecordIsMissing() throws {
        let guest = try TestGuest(
            script: #"set_ tether.status '{"phase":"failed","exitCode":125,"coreDumped":false,"oomKilled":false,"drain":"crash","#
                + #""error":{"phase":"rootfs","operation":"mount","object":"/dev/sda","cause":"bad"}}'"#)
        let result = try guest.run()
        #expect(result.code == 125)
        #expect(result.messages.first == "mount /dev/sda: bad")
    }

    @Test(.timeLimit(.minutes(5))) func explainsASilentEndAndKeepsCaptures() throws {
        let guest = try TestGuest(script: #"set_ tether.status '{"phase":"devices"}'; echo last words"#)
        let kept = guest.directory.path + "-kept"
        let result = try guest.run {
            $0.isKept = true
            $0.directory = kept
        }
        #expect(result.code == 125)
        #expect(result.messages.contains("the guest's last phase was devices"))
        #expect(result.messages.contains("console: last words"))
        #expect(
            try Files.readText(kept + "/console.log").hasSuffix("last words")
                || Files.readText(kept + "/console.log").contains("last words"))
        #expect(try Files.readText(kept + "/status.json") == #"{"phase":"devices"}"#)
        for name in try Files.list(kept) { unlink("\(kept)/\(name)") }
        rmdir(kept)
    }

    @Test(.timeLimit(.minutes(5))) func endsAGuestThatDoesNotStop() throws {
        let guest = try TestGuest(script: "sleep 10000")
        let result = try guest.run {
            $0.timeoutSeconds = 15
            $0.stopTimeoutSeconds = 1
        }
        #expect(result.code == ContainerRun.timeoutCode)
        #expect(result.messages.contains("the VM does not end; killing it"))
    }

    @Test(.timeLimit(.minutes(5))) func reportsWhyQEMUDoesNotStart() throws {
        let guest = try TestGuest(script: "")
        let result = try guest.run { $0.machine.extraArguments = ["-device", "no-such-device"] }
        #expect(result.code == 125)
        #expect(result.messages.contains { $0.hasPrefix("QEMU: ") && $0.contains("no-such-device") }, "\(result.messages)")
    }
}
