#!/usr/bin/env python3
"""The machine code of every CUDA kernel in a build: checks it, and prints what its innermost loops take.

  python3 tests/scripts/machine_code.py <build folder> [--architecture 90] [--kernel PART] [--bounds]
  python3 tests/scripts/machine_code.py <build folder> --step       a training step of LeNet-BN, as machine_code_step.txt lists it

Needs cuobjdump and nvdisasm: from the CUDA toolkit, or `pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm` and their folder on the
PATH. Without them it prints why it is skipped and exits with 77.

It fails where a kernel
- reads or writes shared memory in 8 or 16 bytes at an address whose constant part is no multiple of that,
- uses local memory: spilled registers, or an array that is indexed,
- computes in double precision, or divides integers, in a loop that multiplies of correlate or outer_sum, or in one of batch norm's and
  max pooling's passes over windows,
- or, with --bounds, takes over 20 % longer for its loops, added up, than tests/scripts/machine_code_bounds.txt says. --write-bounds makes
  that file anew.

Cycles of a loop: one warp issues its instructions in order and waits for registers only. Latencies are those of an H200: shared memory 29
cycles, global memory 265 (from L2), double precision 16, special functions 24, all else 5. They compare versions of a kernel; a measurement
says how long it takes.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LATENCY = {"LDG": 265, "LDS": 29, "LDC": 30, "DADD": 16, "DMUL": 16, "DFMA": 16, "DSETP": 18, "MUFU": 24, "I2F": 20, "F2I": 20, "SHFL": 24,
           "ISETP": 9, "FSETP": 9}
NO_RESULT = {"STS", "STG", "BRA", "BAR", "BSSY", "BSYNC", "EXIT", "NOP"}


def tool(name):
    for path in (shutil.which(name), f"/usr/local/cuda/bin/{name}"):
        if path and pathlib.Path(path).exists():
            return path
    print(f"skipped: no {name} here; it comes with the CUDA toolkit, or with pip install nvidia-cuda-{name}")
    sys.exit(77)


def registers(text, wide):
    for kind, number, pair in re.findall(r"\b(UR|R|UP|P)(\d+)(\.64)?", text):
        yield kind, int(number)
        if (pair or wide) and kind in ("R", "UR"):
            yield kind, int(number) + 1


def issue(body, ready, now):
    """Issues the instructions from cycle `now` on; `ready` says when a register's value is there. Returns the cycle after the last."""
    for text in body:
        needs = []
        guard = re.match(r"@!?(U?P\w+)\s+(.*)", text)
        if guard:
            needs, text = list(registers(guard[1], False)), guard[2]
        operation, _, rest = text.partition(" ")
        name, parts = operation.split(".")[0], [p.strip() for p in rest.split(",") if p.strip()]
        double = name in ("DADD", "DMUL", "DFMA")
        two = name.endswith("SETP") or len(parts) > 1 and re.fullmatch(r"U?P\d+", parts[1])
        written = 0 if name in NO_RESULT else 2 if two else 1
        for p in parts[written:]:
            needs += registers(p, double or name == "DSETP")
        now = max([now] + [ready.get(r, 0) for r in needs])
        for p in parts[:written]:
            for kind, number in registers(p, double or ".64" in operation or ".WIDE" in operation):
                for k in range(4 if ".128" in operation else 1):
                    ready[kind, number + k] = now + LATENCY.get(name, 5)
        now += 2 if name in ("LDS", "LDG", "LDC", "SHFL") else 1
    return now


def cycles(body):
    """Cycles of one turn of a loop, once it is under way."""
    ready, now, ends = {}, 0, []
    for _ in range(6):
        now = issue(body, ready, now)
        ends.append(now)
    return ends[-1] - ends[-2]


def walk(code, turns, outer, outer_turns):
    """Cycles of a thread up to the last EXIT. It takes no jump forwards that has a condition, so that it counts more than a real one. Its
    innermost loops turn as often as `turns` says, and what lies from loop outer[0] to loop outer[1] outer_turns times."""
    loops = innermost_loops(code)
    if len(loops) != len(turns):
        sys.exit(f"machine_code: {len(turns)} numbers of turns for {len(loops)} loops: {[hex(code[f][0]) for f, _ in loops]}")
    numbers = {address: i for i, (address, _) in enumerate(code)}
    end = max(i for i, (_, text) in enumerate(code) if re.search(r"\bEXIT\b", text)) + 1

    def straight(first, last):
        left_out = {i for (f, l), n in zip(loops, turns) if n == 0 for i in range(f, l + 1)}
        path, i = [], first
        while i < last:
            if i not in left_out:
                path.append(code[i][1])
            jump = re.match(r"BRA(?:\.\w+)*\s+(0x[0-9a-f]+)", code[i][1])
            target = numbers.get(int(jump[1], 16), 0) if jump else 0
            i = target if i < target < last else i + 1
        return issue(path, {}, 0)

    total = straight(0, end)
    total += sum((n - 1) * cycles([text for _, text in code[f:l + 1]]) for (f, l), n in zip(loops, turns) if n > 1)
    if outer_turns > 1:
        first, last = loops[outer[0]][0], loops[outer[1]][1] + 1
        inside = sum(cycles([text for _, text in code[f:l + 1]]) for (f, l), n in zip(loops, turns) if n and first <= f < last)
        total += (outer_turns - 1) * max(0, straight(first, last) - inside)
    return total


def innermost_loops(code):
    """[(first, last)] of the instructions [(address, text)] that end in a jump back and hold no other such jump."""
    loops = []
    for i, (address, text) in enumerate(code):
        jump = re.search(r"\bBRA\b.*?`\(\.L_x_(\d+)\)|\bBRA\b.*?\b(0x[0-9a-f]+)", text)
        if not jump or not jump[2]:
            continue
        target = int(jump[2], 16)
        if target < address:
            first = next((k for k, (a, _) in enumerate(code) if a >= target), None)
            if first is not None and not any(first <= f and l <= i for f, l in loops):
                loops.append((first, i))
    return loops


def kernels(objects, architecture):
    """Yields (name, [(address, instruction)]) of every kernel for this architecture."""
    cuobjdump, nvdisasm = tool("cuobjdump"), tool("nvdisasm")
    for item in objects:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([cuobjdump, "-xelf", f"sm_{architecture}", str(item.resolve())], cwd=folder, capture_output=True, check=False)
            for cubin in sorted(pathlib.Path(folder).glob("*.cubin")):
                text = subprocess.run([nvdisasm, "-c", "-novliw", str(cubin)], capture_output=True, text=True, check=True).stdout
                for section in re.split(r"^\s*\.section\s+\.text\.", text, flags=re.M)[1:]:
                    mangled = re.match(r"[^,\s]+", section)[0]
                    labels, code = {}, []
                    for line in section.splitlines():
                        if label := re.match(r"\s*(\.L_x_\d+):", line):
                            labels[label[1]] = None
                        elif found := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line):
                            address = int(found[1], 16)
                            for name, at in labels.items():
                                if at is None:
                                    labels[name] = address
                            code.append((address, found[2]))
                    code = [(a, re.sub(r"`\((\.L_x_\d+)\)", lambda m: hex(labels.get(m[1]) or 0), t)) for a, t in code]
                    yield mangled, code


def readable(names):
    """As `norma plan` names kernels: without namespaces, result and parameters."""
    shown = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    for k, text in enumerate(shown):
        text = re.sub(r"_GLOBAL__N_\w+::|\((?:int|bool)\)", "", text)
        for part in ("(anonymous namespace)::", "norma::kernels::cuda::", "norma::kernels::", "norma::", "void "):
            text = text.replace(part, "")
        depth, end = 0, len(text)
        for i, c in enumerate(text):
            depth += (c == "<") - (c == ">")
            if c == "(" and depth == 0:
                end = i
                break
        shown[k] = text[:end]
    return shown


def faults_of(code):
    for address, text in code:
        if re.search(r"\b(LDL|STL)\b", text):
            yield f"{address:#x} uses local memory: {text}"
        wide = re.search(r"\b(?:LDS|STS)(?:\.\w+)*\.(64|128)\b.*?\[([^\]]*)\]", text)
        if not wide:
            continue
        width, where = int(wide[1]) // 8, wide[2]
        offset = re.search(r"(-?)(0x[0-9a-f]+)\s*$", where)
        scaled = not re.search(r"\bU?R\d+(?!\d)(?!\.X)", where.replace("URZ", "").replace("RZ", ""))
        if offset and scaled and int(offset[2], 16) % width:
            yield f"{address:#x} is no multiple of {width}: {text}"


def slow_in(name, body):
    """Yields the instructions of an innermost loop that it must be free of."""
    multiplies = sum(re.search(r"\bFFMA\b", text) is not None for text in body) >= 16
    if multiplies and re.match("correlate|outer_sum", name) or re.match(r"window_pass<\d, (Forward|Backward|Max)", name):
        for text in body:
            if re.search(r"\b(DADD|DMUL|DFMA|DSETP|F2F\.\S*F64\S*|I2F\S*)\b", text):
                yield text


def print_step(kernels_by_name):
    """Prints what each kernel of a step takes, by machine_code_step.txt: label | kernel | turns of its loops | loops of an outer loop, its
    turns."""
    clock_ghz, launch_us, total = 1.98, 1.25, 0
    rows = [[part.strip() for part in line.split("|")] for line in
            (pathlib.Path(__file__).parent / "machine_code_step.txt").read_text().splitlines() if line and not line.startswith("#")]
    print(f"{'us':>6}  kernel along the longest chain of a step, without its launch")
    for label, kernel, turns, *rest in rows:
        if kernel not in kernels_by_name:
            sys.exit(f"machine_code: no kernel is called {kernel}")
        first, last, times = (int(n) for n in rest[0].split()) if rest else (0, 0, 1)
        us = walk(kernels_by_name[kernel], [int(n) for n in turns.split()], (first, last), times) / clock_ghz / 1000
        total += us
        print(f"{us:6.2f}  {label}: {kernel}")
    print(f"{total:6.1f}  all {len(rows)} kernels\n{total + launch_us * len(rows):6.1f}  with {launch_us} us for each launch")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--architecture", default="90")
    parser.add_argument("--kernel", default="", help="only kernels whose name holds this")
    parser.add_argument("--bounds", action="store_true")
    parser.add_argument("--write-bounds", action="store_true")
    parser.add_argument("--step", action="store_true")
    options = parser.parse_args()
    objects = sorted(options.build.glob("CMakeFiles/norma_cuda_kernels*.dir/**/*.o"))
    if not objects:
        sys.exit(f"machine_code: no CUDA kernel was compiled in {options.build}")
    found = list(kernels(objects, options.architecture))
    if not found:
        sys.exit(f"machine_code: no kernel there has code for sm_{options.architecture}")
    if options.step:
        return print_step(dict(zip(readable([n for n, _ in found]), [code for _, code in found])))
    bounds = {}
    file = pathlib.Path(__file__).parent / "machine_code_bounds.txt"
    if options.bounds:
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                most, name = line.split(maxsplit=1)
                bounds[name] = int(most)
    faults, totals = [], {}
    print(f"{'cycles':>7} {'instructions':>12} {'loads':>6}  innermost loop of a kernel, sm_{options.architecture}")
    for name, (_, code) in sorted(zip(readable([n for n, _ in found]), found)):
        if options.kernel not in name:
            continue
        faults += [f"{name}: {fault}" for fault in faults_of(code)]
        total = 0
        for first, last in innermost_loops(code):
            body = [text for _, text in code[first:last + 1]]
            taken = cycles(body)
            total += taken
            faults += [f"{name}: the loop at {code[first][0]:#x} holds {text}" for text in slow_in(name, body)]
            print(f"{taken:7} {len(body):12} {sum('LDG' in t for t in body):6}  {name} at {code[first][0]:#x}")
        totals[name] = total
        if total > 1.2 * bounds.pop(name, total):
            faults.append(f"{name}: its loops take {total} cycles, over 20 % more than machine_code_bounds.txt says")
    faults += [f"{name}: in machine_code_bounds.txt, but not in the build" for name in bounds if options.kernel in name]
    print(f"{len(found)} kernels, {len(faults)} faults")
    if options.write_bounds:
        file.write_text("# Cycles of a kernel's innermost loops, a turn of each, for sm_90: made by machine_code.py --write-bounds.\n" +
                        "".join(f"{total:6} {name}\n" for name, total in sorted(totals.items()) if total))
    for fault in faults:
        print(f"machine_code: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
