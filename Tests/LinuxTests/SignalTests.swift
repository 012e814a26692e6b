import CLinux
import Linux
import Testing

@Suite struct SignalTests {
    @Test func everySignalHasANameThatLeadsBackToIt() {
        var names: Set<String> = []
        for number in Int32(1)...64 {
            guard let signal = Signal(rawValue: number) else {
                Issue.record("no signal \(number)")
                continue
            }
            names.insert(signal.name)
            #expect(Signal(name: signal.name) == signal, "\(signal.name)")
            #expect(Signal(name: String(signal.name.dropFirst(3)).lowercased()) == signal || number == 32 || number == 33, "\(signal.name)")
            #expect(Signal(name: "\(number)") == signal)
        }
        #expect(names.count == 64)
    }

    @Test(arguments: [
        ("SIGKILL", SIGKILL), ("kill", SIGKILL), ("SigTerm", SIGTERM), ("CHLD", SIGCHLD), ("CLD", SIGCHLD), ("SIGIO", SIGIO),
        ("POLL", SIGIO), ("IOT", SIGABRT),
        ("UNUSED", SIGSYS), ("RTMIN", 34), ("SIGRTMIN+0", 34), ("SIGRTMIN+3", 37), ("rtmin+30", 64), ("SIGRTMAX", 64), ("RTMAX-14", 50),
        ("RTMAX-30", 34), ("15", 15),
        ("009", 9), ("STKFLT", 16), ("SIGPWR", 30),
    ])
    func names(_ name: String, _ number: Int32) { #expect(Signal(name: name)?.rawValue == number) }

    @Test(arguments: [
        "", "SIG", "SIGFOO", "0", "65", "-1", "+9", " 9", "9 ", "999", "9999", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMAX-31",
        "SIGRTMIN+", "SIGRTMIN3",
        "SIGSIGKILL", "KILL\0", "SIGRTMIN+99999999999999", "ＫＩＬＬ",
    ])
    func noNames(_ name: String) { #expect(Signal(name: name) == nil) }

    @Test func numbersOutOfRange() {
        for number in [0, -1, 65, .max, .min] as [Int32] { #expect(Signal(rawValue: number) == nil) }
    }

    @Test func namesOfTheExitRecord() {
        #expect(Signal.kill.name == "SIGKILL" && Signal.terminate.description == "SIGTERM")
        #expect(
            Signal(rawValue: 37)?.name == "SIGRTMIN+3" && Signal(rawValue: 34)?.name == "SIGRTMIN" && Signal(rawValue: 33)?.name == "SIG33")
        #expect(Signal(rawValue: SIGSEGV)?.name == "SIGSEGV")
    }
}
