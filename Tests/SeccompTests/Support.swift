import CLinux
import CSeccompTrial
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Seccomp

/// The profile that a configuration with this `linux.seccomp` has.
func profile(_ json: String) throws -> SeccompProfile {
    let document = #"{"ociVersion": "1.2.0", "process": {"args": ["a"]}, "linux": {"seccomp": \#(json)}}"#
    return try #require(try ContainerSpec.decode(Array(document.utf8)).seccomp)
}

/// A profile with one rule.
func profile(default defaultAction: String = "SCMP_ACT_ALLOW", more: String = "", rule: String) throws -> SeccompProfile {
    try profile(#"{"defaultAction": "\#(defaultAction)", \#(more) "syscalls": [{\#(rule)}]}"#)
}

/// The profile that Debian ships for Podman, which comes from Docker's.
func podmanProfile() throws -> String {
    let path = "/usr/share/containers/seccomp.json"
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    return try #require(text, "\(path) is of the package golang-github-containers-common, see scripts/packages")
}

/// The bit of a capability of capabilities(7).
func capability(_ number: UInt64) -> UInt64 { 1 << number }

extension SeccompTarget {
    static let unprivileged = SeccompTarget(boundingCapabilities: 0)
    static let privileged = SeccompTarget(boundingCapabilities: .max)
}

/// Runs the builder here once, before a worker does. Its first run takes locks of the Swift runtime, and a worker that is
/// forked from a process with many threads, as a test is, would wait for ever for one that another thread just held. PID 1 has
/// one thread.
let builderHasRun: Bool = {
    var profile = SeccompProfile(defaultAction: .errno(1))
    profile.architectures = ["SCMP_ARCH_X86"]
    profile.rules = [SeccompRule(names: ["no_such_call", "read"], action: .allow)]
    profile.rules[0].comparisons = [SeccompComparison(index: 0, value: 1, operator: .equal)]
    guard let program = try? FilterBuilder.program(profile, .unprivileged) else { return false }
    return !CompilationMessage.encode(program).isEmpty && !CompilationMessage.encode(SeccompError("", "", "")).isEmpty
}()

func compile(_ profile: SeccompProfile, for target: SeccompTarget = .unprivileged) throws(SeccompError) -> SeccompProgram {
    guard builderHasRun else { throw SeccompError("run", "the builder", "it failed") }
    return try SeccompCompilation(profile, for: target).wait()
}

extension SeccompProgram {
    var count: Int { instructions.count / 8 }

    /// What comes of a call under this program.
    func trial(_ number: Int, _ arguments: [UInt64] = [], abi: trial_abi = TRIAL_NATIVE) throws -> Outcome {
        var call = Self.call(number, arguments, abi: abi)
        var end = trial_end()
        let flags = flags
        let started = instructions.withUnsafeBytes { trial_run($0.baseAddress, $0.count / 8, flags, &call, &end) }
        try #require(started == 0 && end.installed == 0, "seccomp: \(Errno(rawValue: end.installed))")
        return Outcome(end)
    }

    static func call(_ number: Int, _ arguments: [UInt64] = [], abi: trial_abi = TRIAL_NATIVE) -> trial_call {
        var call = trial_call()
        call.abi = abi
        call.number = number
        withUnsafeMutableBytes(of: &call.arguments) { bytes in
            for (index, argument) in arguments.enumerated() { bytes.storeBytes(of: argument, toByteOffset: index * 8, as: UInt64.self) }
        }
        return call
    }
}

enum Outcome: Equatable {
    /// The kernel made the call.
    case result(Int)
    case failure(Errno)
    case signal(Int32)
    case nothing

    init(_ end: trial_end) {
        if end.made != 0 {
            self = end.result < 0 && end.result >= -4095 ? .failure(Errno(rawValue: Int32(-end.result))) : .result(end.result)
        } else {
            self = end.signal != 0 ? .signal(end.signal) : .nothing
        }
    }

    var isSuccess: Bool { if case .result = self { true } else { false } }
}

let permission = Errno(rawValue: EPERM)
let notImplemented = Errno(rawValue: ENOSYS)
