import os

from chiron.core.memory import free_memory, peak_memory


def test_the_smallest_limit_counts(tmp_path):
    """1 GiB free in the system; the group above this one may take 300 bytes, of which 250 are used, 50 given back."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:       2097152 kB\nMemAvailable:   1048576 kB\nHugePages_Total:       0\n")
    (proc / "self" / "cgroup").write_text("0::/user/job\n")
    assert free_memory(proc, groups) == 1 << 30
    for place, limit in (("user/job", "max"), ("user", "300")):
        (groups / place).mkdir(parents=True, exist_ok=True)
        (groups / place / "memory.max").write_text(f"{limit}\n")
        (groups / place / "memory.current").write_text("250\n")
        (groups / place / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    assert free_memory(proc, groups) == 100


def test_limits_of_the_older_kind(tmp_path):
    proc, group = tmp_path / "proc", tmp_path / "cgroup" / "memory" / "job"
    (proc / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("5:memory:/job\n4:cpu,cpuacct:/\n")
    (group / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory.usage_in_bytes").write_text("900\n")
    (group / "memory.stat").write_text("total_inactive_file 25\n")
    assert free_memory(proc, tmp_path / "cgroup") == 125


def test_a_system_that_says_nothing_offers_half_of_all(tmp_path):
    all_of_it = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_memory(tmp_path, tmp_path) == all_of_it // 2


def test_of_this_process():
    assert free_memory() > 0
    assert 5_000_000 < peak_memory() < 100_000_000_000
