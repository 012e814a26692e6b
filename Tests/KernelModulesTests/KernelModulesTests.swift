import Linux
import Testing

@testable import KernelModules

@Suite("Module index") struct ModuleIndexTests {
    static let source: ModuleIndex.Source = {
        var source = ModuleIndex.Source()
        // As depmod(8) writes them: the whole chain, the nearest first.
        source.dependencies = Array(
            """
            kernel/drivers/scsi/scsi_common.ko:
            kernel/drivers/scsi/scsi_mod.ko: kernel/drivers/scsi/scsi_common.ko
            kernel/drivers/scsi/sd_mod.ko: kernel/lib/crc-t10dif.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
            kernel/lib/crc-t10dif.ko:
            kernel/drivers/scsi/vmw_pvscsi.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
            kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko
            kernel/lib/libcrc32c.ko:
            kernel/crypto/crc32c_generic.ko:
            kernel/arch/x86/crypto/crc32c-intel.ko:
            kernel/a.ko: kernel/b.ko
            kernel/b.ko: kernel/a.ko
            nonsense
            """.utf8)
        source.aliases = Array(
            """
            # Aliases extracted from modules themselves.
            alias pci:v000015ADd000007C0sv*sd*bc*sc*i* vmw_pvscsi
            alias scsi:t-0x00* sd_mod
            alias scsi:t-0x0e* sd_mod
            alias fs-xfs xfs
            alias fs-gone gone
            alias crc32c crc32c_generic
            alias crc32c crc32c_intel
            alias broken
            """.utf8)
        source.softDependencies = Array("softdep xfs pre: crc32c\nsoftdep libcrc32c pre: crc32c post: xfs\n".utf8)
        return source
    }()
    let index = ModuleIndex(source)

    @Test func hardwareIsMatchedByPattern() {
        #expect(index.modules(matching: "pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc07i00") == ["vmw_pvscsi"])
        #expect(index.modules(matching: "scsi:t-0x00") == ["sd_mod"])
        #expect(index.modules(matching: "pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00") == [])
        #expect(index.modules(matching: "scsi:t-0x05") == [])
    }

    @Test func namesAreTheSameWithEitherDash() {
        #expect(index.modules(matching: "crc32c-intel") == ["crc32c_intel"])
        #expect(index.path(of: "crc32c_intel") == "kernel/arch/x86/crypto/crc32c-intel.ko")
    }

    @Test func whatIsBuiltInOrAbsentNeedsNothing() {
        #expect(index.modules(matching: "ext4") == [])
        #expect(index.modules(matching: "fs-gone") == [])
        #expect(index.modules(matching: "nothing") == [])
    }

    @Test func dependenciesComeFirst() {
        #expect(index.loadOrder(of: "vmw_pvscsi") == ["scsi_common", "scsi_mod", "vmw_pvscsi"])
        #expect(index.loadOrder(of: "sd_mod") == ["scsi_common", "scsi_mod", "crc_t10dif", "sd_mod"])
        #expect(index.loadOrder(of: "sd_mod", without: ["scsi_common", "scsi_mod"]) == ["crc_t10dif", "sd_mod"])
    }

    @Test func softDependenciesAreHonoured() {
        #expect(index.loadOrder(of: "xfs") == ["crc32c_generic", "crc32c_intel", "libcrc32c", "xfs"])
    }

    @Test func aCircleEnds() {
        #expect(index.loadOrder(of: "a") == ["b", "a"])
    }

    @Test func thirtyThousandAliasesAreReadInTime() {
        var source = Self.source
        var text = ""
        for number in 0..<30_000 { text += "alias pci:v0000\(number)d*sv*sd*bc*sc*i* module_\(number)\n" }
        source.aliases += Array(text.utf8)
        let start = Clock.monotonic()
        let large = ModuleIndex(source)
        #expect(large.modules(matching: "pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc07i00") == ["vmw_pvscsi"])
        // Some 100 times what a release build needs.
        #expect(Clock.monotonic() - start < 20_000_000_000)
    }
}

@Suite("Module parameters") struct ModuleParametersTests {
    @Test func theCommandLineReachesTheModules() {
        let parameters = ModuleParameters(
            kernelArguments: "quiet root=/dev/sda.1 vmw-pvscsi.cmd_per_lun=64 vmw_pvscsi.use_msi x.y=\"a b\" -- z.a=1")
        #expect(parameters["vmw_pvscsi"] == "cmd_per_lun=64 use_msi")
        #expect(parameters["x"] == "y=\"a b\"")
        #expect(parameters["z"] == "")
        #expect(parameters["sd_mod"] == "")
    }

    @Test func theScanIsSynchronousUnlessToldOtherwise() {
        #expect(ModuleParameters(kernelArguments: "")["scsi_mod"] == "scan=sync")
        #expect(ModuleParameters(kernelArguments: "scsi_mod.scan=async scsi_mod.max_luns=8")["scsi_mod"] == "scan=async max_luns=8")
        #expect(ModuleParameters(kernelArguments: "scsi_mod.max_luns=8")["scsi_mod"] == "max_luns=8 scan=sync")
    }
}

@Suite("Module selection") struct ModuleSelectionTests {
    @Test(arguments: [
        ("pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc07i00", true), ("pci:v00008086d00007111sv*sd*bc01sc01i8a", true),
        ("pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00", false), ("scsi:t-0x00", true), ("scsi:t-0x05", false),
        ("virtio:d00000002v00001AF4", true), ("virtio:d00000008v00001AF4", true), ("virtio:d00000001v00001AF4", false),
        ("acpi:PNP0C0C:", true), ("acpi:LNXPWRBN:", true), ("acpi:PNP0C0D:", false), ("pci:", false), ("", false),
    ])
    func bootDriversAreToldByAlias(_ alias: String, _ isNeeded: Bool) {
        #expect(ModuleSelection.boot.includes(alias) == isNeeded)
        #expect(ModuleSelection.all.includes(alias))
    }

    @Test(arguments: [
        ("pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00", true), ("virtio:d00000001v00001AF4", true),
        ("pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc07i00", false), ("virtio:d00000002v00001AF4", false), ("acpi:PNP0C0C:", false),
        ("usb:v0BDAp8153bc02", false), ("", false),
    ])
    func networkDriversAreToldByAlias(_ alias: String, _ isNeeded: Bool) {
        #expect(ModuleSelection.network.includes(alias) == isNeeded)
    }
}

@Suite("Module loader", .serialized) struct ModuleLoaderTests {
    private func folder() throws -> String {
        let path = "/tmp/tether-modules-\(Clock.monotonic())"
        try Files.makeDirectories(path)
        return path
    }

    private func write(_ text: String, _ path: String) throws {
        let file = try FileDescriptor.open(path, 0o1 | 0o100 | 0o1000, mode: 0o644)
        _ = try Array(text.utf8).withUnsafeBytes { (buffer) throws(SyscallError) in try file.write(buffer) }
    }

    @Test func aKernelWithoutModulesNeedsNone() throws {
        let loader = try ModuleLoader(directory: "/tmp/there-is-no-such-folder", kernelArguments: "")
        #expect(loader.loadForPresentHardware(.all, until: .after(milliseconds: 1000)) == ModuleReport())
        #expect(loader.load(alias: "pci:v000015AD", until: .after(milliseconds: 1000)) == ModuleReport())
    }

    @Test func aFailureNamesTheModuleAndTheCauseAndIsNotTriedAgain() throws {
        let path = try folder()
        try write("kernel/fs/tetherfs.ko: kernel/lib/missing.ko\nkernel/lib/missing.ko:\n", path + "/modules.dep")
        try write("alias fs-tetherfs tetherfs\n", path + "/modules.alias")
        try Files.makeDirectories(path + "/kernel/fs")
        try write("not a module", path + "/kernel/fs/tetherfs.ko")
        let loader = try ModuleLoader(directory: path, kernelArguments: "")
        let report = loader.loadFilesystem("tetherfs", until: .after(milliseconds: 10_000))
        #expect(report.loaded == [])
        #expect(report.failures.count == 2)
        #expect(report.failures.first?.description == "load module missing: No such file or directory")
        #expect(report.failures.last?.object == "tetherfs")
        #expect(loader.loadFilesystem("tetherfs", until: .after(milliseconds: 10_000)) == ModuleReport())
    }

    @Test func aTypeThatTheKernelKnowsNeedsNoModule() throws {
        #expect(ModuleLoader.kernelKnows(filesystem: "tmpfs"))
        #expect(!ModuleLoader.kernelKnows(filesystem: "tetherfs"))
        #expect(!ModuleLoader.kernelKnows(filesystem: ""))
        let loader = try ModuleLoader(directory: "/tmp/there-is-no-such-folder", kernelArguments: "")
        #expect(loader.loadFilesystem("tmpfs", until: .after(milliseconds: 1000)) == ModuleReport())
    }

    @Test func anUnreadableIndexIsAnError() throws {
        let path = try folder()
        try Files.makeDirectories(path + "/modules.dep")
        #expect(throws: ModuleError("read module index", path + "/modules.dep", "Is a directory")) {
            _ = try ModuleLoader(directory: path, kernelArguments: "")
        }
    }

    @Test func whatTheWorkerSaysComesBack() {
        for message in [ModuleLoader.Message.begin("a"), .loaded("b"), .present("c"), .failed("d", "No such device")] {
            #expect(ModuleLoader.Message(message.encoded) == message)
        }
        #expect(ModuleLoader.Message([1, 2, 3]) == nil)
    }
}
