import CHostProcess
import CLinux
import Linux

/// Which accelerator the user asks for.
public enum AcceleratorChoice: String, Sendable, CaseIterable {
    /// KVM where it works, else TCG.
    case auto
    case kvm
    case tcg
}

/// Whether KVM can be used on this machine.
///
/// The device alone says little: a nested or paravirtual KVM may open, and even start a kernel, yet not run it. What
/// says enough is a kernel that comes up. So the first VM on a machine is tried with KVM, and when it does not get its
/// kernel going it is started again with TCG. The verdict is remembered until the host reboots or QEMU changes.
struct KVMProbe {
    enum Verdict: String { case works, fails }

    /// Host boot and QEMU version: what a verdict holds for.
    let key: String
    /// The file with the verdicts, one a line.
    let path: String
    let device: String

    init(qemuVersion: String, device: String = "/dev/kvm") {
        let boot = (try? Files.readText("/proc/sys/kernel/random/boot_id")) ?? "unknown"
        self.init(key: "\(boot) \(qemuVersion)", path: Self.cacheDirectory() + "/kvm", device: device)
    }

    init(key: String, path: String, device: String) {
        self.key = key
        self.path = path
        self.device = device
    }

    private static func cacheDirectory() -> String {
        if let cache = getenv("XDG_CACHE_HOME"), cache[0] != 0 { return String(cString: cache) + "/tether" }
        return (getenv("HOME").map { String(cString: $0) } ?? "/tmp") + "/.cache/tether"
    }

    /// Why KVM cannot be had here at all, or nil when it may work.
    func deviceProblem() -> String? {
        let device: FileDescriptor
        do throws(SyscallError) { device = try FileDescriptor.open(self.device, O_RDWR) } catch { return error.description }
        // 12 is the only version there ever was since Linux 2.6.22.
        if hostprocess_kvm_api_version(device.rawValue) != 12 { return "\(self.device) does not speak KVM's API version 12" }
        if hostprocess_kvm_can_debug(device.rawValue) == 0 { return "this KVM has no guest debugging, which the backdoor bridge needs" }
        return nil
    }

    /// What an earlier run found out.
    func remembered() -> Verdict? {
        guard let text = try? Files.readText(path) else { return nil }
        for line in text.split(whereSeparator: \.isNewline) {
            for verdict in [Verdict.works, .fails] where line == "\(key) \(verdict.rawValue)" { return verdict }
        }
        return nil
    }

    /// Keeps a verdict; verdicts of other boots go. A cache that cannot be written costs time, no more.
    func remember(_ verdict: Verdict) {
        let boot = key.prefix { $0 != " " }
        let others = ((try? Files.readText(path)) ?? "").split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix(boot) && !$0.hasPrefix(key) }.suffix(16)
        let text = (others.map(String.init) + ["\(key) \(verdict.rawValue)"]).joined(separator: "\n") + "\n"
        let directory = path.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
        // A whole new file takes the old one's place, so that two runs at once cannot tear it.
        let temporary = "\(path).\(getpid())"
        guard (try? Files.makeDirectories(directory, mode: 0o700)) != nil,
            let file = try? FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600),
            (try? RunDirectory.append(Array(text.utf8), to: file, object: temporary)) != nil
        else { return }
        _ = rename(temporary, path)
    }
}
