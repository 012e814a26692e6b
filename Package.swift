// swift-tools-version: 6.2
// Two builds come from this manifest:
//  * the default: every library, the host tools and all tests, with the full Swift runtime;
//  * TETHER_EMBEDDED=1: only what goes into the initramfs, as Embedded Swift (no Swift runtime in the guest).
// TETHER_WERROR=1 turns warnings into errors; TETHER_FUZZ=1 adds the libFuzzer harnesses.
import PackageDescription

let embedded = Context.environment["TETHER_EMBEDDED"] != nil
let warningsAsErrors = Context.environment["TETHER_WERROR"] != nil
let fuzzing = Context.environment["TETHER_FUZZ"] != nil
/// Where the toolchain keeps libswiftUnicodeDataTables.a; the Makefile finds it beside `swiftc`.
let embeddedLibraries = Context.environment["TETHER_EMBEDDED_LIBRARIES"] ?? "/opt/swift/usr/lib/swift/embedded/x86_64-unknown-linux-gnu"

// _GNU_SOURCE everywhere: clang modules that saw libc's headers with different macros define its types differently, and
// such modules cannot be used together.
let common: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
        .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
    ]
    + (warningsAsErrors ? [.treatAllWarnings(as: .error)] : [])
// No outlined constants: the compiler numbers the array literals of a function anew in every module that has a copy of it, and
// the linker, which keeps one of each name, may then give a function another one's constants.
let guest: [SwiftSetting] =
    common
    + (embedded
        ? [
            .enableExperimentalFeature("Embedded"),
            .unsafeFlags(["-wmo", "-Osize", "-Xfrontend", "-function-sections", "-Xllvm", "-sil-disable-pass=object-outliner"]),
        ] : [])
let c: [CSetting] = warningsAsErrors ? [.treatAllWarnings(as: .error)] : []
let guestLinker: [LinkerSetting] =
    embedded
    ? [
        .unsafeFlags(["-Xlinker", "--gc-sections", "-Xlinker", "--icf=all", "-Xlinker", "--as-needed", "-L\(embeddedLibraries)"]),
        .linkedLibrary("swiftUnicodeDataTables"),
    ] : []

/// Libraries that run in the guest. They keep to the subset of Swift that also compiles as Embedded Swift.
let guestTargets: [Target] = [
    .target(name: "CLinux", cSettings: c + (embedded ? [.define("CLINUX_WITHOUT_LIBM")] : [])),
    .target(name: "Linux", dependencies: ["CLinux"], swiftSettings: guest),
    .target(name: "CBackdoor", cSettings: c),
    .target(name: "Base64Coding", dependencies: ["CNettle"], swiftSettings: guest),
    .target(name: "GuestInfo", dependencies: ["Base64Coding", "CBackdoor", "CLinux", "CZlib", "Linux"], swiftSettings: guest),
    .target(name: "ContainerSpec", dependencies: ["CJansson", "CCapability", "CLinux", "Linux"], swiftSettings: guest,
        linkerSettings: embedded ? [] : [.linkedLibrary("m")]),
    .target(name: "Seccomp", dependencies: ["CSeccomp", "CLinux", "ContainerSpec", "Linux"], swiftSettings: guest),
    .target(name: "KernelModules", dependencies: ["CLinux", "Linux"], swiftSettings: guest),
    .target(name: "Storage", dependencies: ["CBlkid", "CMount", "CLinux", "KernelModules", "Linux"], swiftSettings: guest),
    .target(name: "Network", dependencies: ["CLinux", "ContainerSpec", "Linux"], swiftSettings: guest),
    .target(name: "SessionLog", dependencies: ["CNettle", "CLinux", "Linux"], swiftSettings: guest),
    .target(name: "Control", dependencies: ["Linux", "SessionLog"], swiftSettings: guest),
    .target(name: "LineHandshake", swiftSettings: guest),
    .target(name: "SSH", dependencies: ["Base64Coding", "CHogweed", "CLinux", "CNettle", "CZlib"], swiftSettings: guest),
    .target(name: "VIC", dependencies: ["Base64Coding", "CLinux", "ContainerSpec", "Linux", "SessionLog"], swiftSettings: guest),
    // In the guest the package manager links libcap by what pkg-config says, statically (scripts/build-guest).
    .target(name: "CSpawn", cSettings: c, linkerSettings: embedded ? [] : [.linkedLibrary("cap")]),
    .target(
        name: "Container", dependencies: ["CSpawn", "CCapability", "CLinux", "Linux", "ContainerSpec", "SessionLog", "Storage"],
        swiftSettings: guest),
    .target(
        name: "Sessions", dependencies: ["CLinux", "ContainerSpec", "Control", "Linux", "SessionLog"], swiftSettings: guest),
    .target(name: "CCgroups", cSettings: c),
    .target(name: "Cgroups", dependencies: ["CCgroups", "CLinux", "ContainerSpec", "Linux", "SessionLog"], swiftSettings: guest),
    .target(name: "CCrash", cSettings: c),
    .executableTarget(
        name: "Tether",
        dependencies: [
            "CCrash", "Cgroups", "Container", "CLinux", "Linux", "GuestInfo", "ContainerSpec", "KernelModules", "Network", "Seccomp",
            "Sessions", "Storage", "SessionLog", "Control", "VIC",
        ],
        swiftSettings: guest, linkerSettings: guestLinker),
    .executableTarget(
        name: "TetherRelay", dependencies: ["CLinux", "Control", "Linux"], swiftSettings: guest, linkerSettings: guestLinker),
    .executableTarget(
        name: "TetherLease", dependencies: ["CLinux", "Network"], swiftSettings: guest, linkerSettings: guestLinker),
    .target(name: "Attach", dependencies: ["Control", "LineHandshake", "Linux", "SessionLog", "SSH", "VIC"], swiftSettings: guest),
    .executableTarget(
        name: "TetherAttach", dependencies: ["Attach", "CLinux", "Control", "Linux", "SSH", "SessionLog"], swiftSettings: guest,
        linkerSettings: guestLinker),
    .executableTarget(name: "GuestInfoTool", dependencies: ["CLinux", "Linux", "GuestInfo"], swiftSettings: guest, linkerSettings: guestLinker),
    .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
    .systemLibrary(name: "CNettle", pkgConfig: "nettle", providers: [.apt(["nettle-dev"])]),
    .systemLibrary(name: "CHogweed", pkgConfig: "hogweed", providers: [.apt(["nettle-dev", "libgmp-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CBlkid", pkgConfig: "blkid", providers: [.apt(["libblkid-dev"])]),
    .systemLibrary(name: "CMount", pkgConfig: "mount", providers: [.apt(["libmount-dev"])]),
    .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
    .systemLibrary(name: "CCapability", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),
]

/// Libraries and programs of the machine outside the VM.
let hostTargets: [Target] = [
    .target(name: "GuestInfoHost", dependencies: ["CZlib", "GuestInfo"], swiftSettings: common),
    .target(name: "CPtrace", cSettings: c),
    .target(name: "PtraceBed", dependencies: ["CPtrace", "CLinux", "Linux", "GuestInfo", "GuestInfoHost"], swiftSettings: common),
    .executableTarget(
        name: "guestinfo-bed",
        dependencies: ["PtraceBed", "GuestInfo", "GuestInfoHost", "Linux", .product(name: "ArgumentParser", package: "swift-argument-parser")],
        swiftSettings: common),
    .target(name: "SSHBed", dependencies: ["CHostProcess", "CLinux", "CSpawn", "Linux", "SSH"], swiftSettings: common),
    .executableTarget(
        name: "ssh-bed",
        dependencies: ["SSHBed", "SSH", "Linux", "CLinux", .product(name: "ArgumentParser", package: "swift-argument-parser")],
        swiftSettings: common),
    .target(name: "SessionReplay", dependencies: ["SessionLog", "Linux", "CLinux"], swiftSettings: common),
    .target(name: "DiskImage", dependencies: ["CNettle", "Linux"], swiftSettings: common),
    .target(name: "VSPC", swiftSettings: common),
    .target(name: "LineEndpoint", dependencies: ["VSPC", "LineHandshake", "Linux", "CLinux"], swiftSettings: common),
    .target(name: "AttachClient", dependencies: ["SSH", "LineEndpoint", "Linux", "CLinux"], swiftSettings: common),
    .target(
        name: "Concentrator",
        dependencies: ["VSPC", "LineEndpoint", "SessionLog", "Linux", "CLinux", .product(name: "Logging", package: "swift-log")],
        swiftSettings: common),
    .target(name: "CHostProcess", cSettings: c),
    .target(
        name: "VirtualMachine",
        dependencies: [
            "CHostProcess", "GuestInfo", "GuestInfoHost", "LineEndpoint", "SessionLog", "SessionReplay", "Linux", "CLinux",
            .product(name: "Logging", package: "swift-log"),
        ],
        swiftSettings: common),
    .executableTarget(
        name: "tetherctl",
        dependencies: [
            "VirtualMachine", "AttachClient", "SSH", "Concentrator", "LineEndpoint", "CHostProcess", "SessionReplay", "SessionLog",
            "DiskImage", "ContainerSpec", "GuestInfo", "GuestInfoHost", "Linux", "CLinux", "VIC",
            .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Logging", package: "swift-log"),
        ],
        swiftSettings: common),
]

let testTargets: [Target] = [
    // What several of the suites need.
    .target(name: "CTestSupport", path: "Tests/CTestSupport", cSettings: c),
    .target(name: "TestSupport", dependencies: ["CTestSupport", "CLinux", "Linux"], path: "Tests/TestSupport", swiftSettings: common),
    .testTarget(name: "Base64CodingTests", dependencies: ["Base64Coding"], swiftSettings: common),
    .testTarget(name: "LinuxTests", dependencies: ["Linux", "CLinux", "CTestSupport"], swiftSettings: common),
    .testTarget(
        name: "GuestInfoTests",
        dependencies: ["GuestInfo", "GuestInfoHost", "PtraceBed", "CLinux", "Linux", "GuestInfoTool", "guestinfo-bed"], swiftSettings: common),
    .testTarget(
        name: "ContainerSpecTests", dependencies: ["ContainerSpec", "GuestInfoHost", "Linux", "TestSupport", "tetherctl"], swiftSettings: common),
    // A client that can also misbehave: for tests alone.
    .target(
        name: "ControlClient", dependencies: ["Control", "SessionLog", "Linux", "CLinux"], path: "Tests/ControlClient", swiftSettings: common),
    .target(name: "CSeccompTrial", path: "Tests/CSeccompTrial", cSettings: c),
    .testTarget(
        name: "SeccompTests", dependencies: ["Seccomp", "CSeccompTrial", "ContainerSpec", "CLinux", "Linux"], swiftSettings: common),
    .testTarget(name: "KernelModulesTests", dependencies: ["KernelModules", "Linux"], swiftSettings: common),
    .testTarget(name: "StorageTests", dependencies: ["Storage", "KernelModules", "CMount", "CLinux", "Linux"], swiftSettings: common),
    .testTarget(name: "SessionLogTests", dependencies: ["SessionLog", "SessionReplay", "Linux", "CLinux", "TestSupport"], swiftSettings: common),
    .testTarget(
        name: "SessionsTests",
        dependencies: [
            "Sessions", "Control", "ContainerSpec", "SessionLog", "CLinux", "Linux", "TetherAttach", "AttachClient", "LineEndpoint", "SSH",
            "TestSupport",
        ],
        swiftSettings: common),
    .testTarget(name: "VICTests", dependencies: ["VIC", "ContainerSpec", "GuestInfoHost", "Linux", "SessionLog", "TestSupport", "tetherctl"],
        swiftSettings: common),
    .testTarget(name: "ContainerTests", dependencies: ["Container", "ContainerSpec", "Linux", "CLinux"], swiftSettings: common),
    .testTarget(name: "CgroupsTests", dependencies: ["Cgroups", "CLinux", "ContainerSpec", "Linux"], swiftSettings: common),
    .testTarget(
        name: "VirtualMachineTests",
        dependencies: [
            "VirtualMachine", "ContainerSpec", "GuestInfo", "GuestInfoHost", "LineEndpoint", "SessionLog", "SessionReplay", "CLinux", "Linux",
            "TestSupport",
        ],
        swiftSettings: common),
    .testTarget(name: "VSPCTests", dependencies: ["VSPC"], swiftSettings: common),
    .testTarget(
        name: "ConcentratorTests", dependencies: [
            "Concentrator", "VSPC", "LineEndpoint", "LineHandshake", "CLinux", "Linux", "tetherctl",
            .product(name: "Logging", package: "swift-log"),
        ], swiftSettings: common),
    .testTarget(
        name: "AttachClientTests",
        dependencies: [
            "Attach", "AttachClient", "Concentrator", "Control", "LineEndpoint", "LineHandshake", "SSH", "CLinux", "Linux", "TestSupport",
            "VSPC", "tetherctl", .product(name: "Logging", package: "swift-log"),
        ],
        swiftSettings: common),
    .testTarget(name: "DiskImageTests", dependencies: ["DiskImage"], swiftSettings: common),
    .testTarget(name: "AttachTests", dependencies: ["Attach", "Control", "LineHandshake", "SessionLog", "SSH", "TestSupport"], swiftSettings: common),
    .testTarget(name: "LineHandshakeTests", dependencies: ["LineHandshake"], swiftSettings: common),
    .testTarget(
        name: "SSHTests", dependencies: ["SSH", "SSHBed", "ssh-bed", "Base64Coding", "CLinux", "CZlib", "Linux"], exclude: ["VICClient", "asyncssh"],
        swiftSettings: common),
    .testTarget(
        name: "NetworkTests", dependencies: ["Network", "CLinux", "ContainerSpec", "Linux", "TetherLease"], swiftSettings: common),
    .testTarget(
        name: "ControlTests", dependencies: ["Control", "ControlClient", "SessionLog", "Linux", "CLinux", "TestSupport", "TetherRelay"],
        swiftSettings: common),
    .testTarget(
        name: "TetherTests",
        dependencies: [
            "Tether", "ContainerSpec", "GuestInfo", "GuestInfoHost", "SessionLog", "SessionReplay", "Linux", "CLinux", "TestSupport", "VIC",
        ],
        swiftSettings: common),
    .testTarget(
        name: "BootTests",
        dependencies: [
            "CLinux", "ContainerSpec", "Control", "ControlClient", "LineEndpoint", "LineHandshake", "Linux", "SessionLog", "SessionReplay", "SSH",
            "TestSupport", "VIC", "VSPC",
        ],
        swiftSettings: common),
]

/// libFuzzer harnesses, one a decoder that faces the outside; corpora in Fuzz/<name>/corpus. NettleOnce is linked into those whose time
/// public-key cryptography would take.
let fuzzTargets: [Target] = [
    ("FuzzGuestInfo", ["GuestInfo", "GuestInfoHost"]), ("FuzzContainerSpec", ["ContainerSpec"]),
    ("FuzzSessionLog", ["SessionLog", "SessionReplay"]), ("FuzzControl", ["Control"]), ("FuzzSSH", ["SSH", "Base64Coding"]),
    ("FuzzSSHConnection", ["SSH"]), ("FuzzSSHHandshake", ["SSH", "NettleOnce"]), ("FuzzLine", ["LineHandshake"]), ("FuzzVSPC", ["VSPC"]),
    ("FuzzAttachClient", ["AttachClient", "SSH"]),
    ("FuzzVIC", ["VIC", "ContainerSpec"]), ("FuzzLease", ["Network", "ContainerSpec", "Linux"]),
    ("FuzzAttach", ["Attach", "Control", "LineHandshake", "NettleOnce", "SSH", "SessionLog"]),
].map { name, dependencies in
    .executableTarget(
        name: name, dependencies: dependencies.map { .target(name: $0) }, path: "Fuzz/\(name)", exclude: ["corpus"],
        swiftSettings: common + [.unsafeFlags(["-parse-as-library"])], linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
} + [.target(name: "NettleOnce", dependencies: ["CHogweed", "SSH"], path: "Fuzz/NettleOnce", swiftSettings: common)]

let package = Package(
    name: "tether",
    // Named here because a target "guestinfo" would differ from the library only in case.
    products: [.executable(name: "guestinfo", targets: ["GuestInfoTool"])],
    dependencies: embedded
        ? []
        : [
            // The very versions, or what is built from a commit would be another thing tomorrow. (A Package.resolved would be rewritten
            // by each embedded build, which has no dependencies.)
            .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
            .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        ],
    targets: guestTargets + (embedded ? [] : hostTargets + testTargets) + (fuzzing ? fuzzTargets : []),
    swiftLanguageModes: [.v6])
