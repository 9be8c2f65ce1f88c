# Hashes, regular expressions, sorting, formats, a child process.
use strict;
use warnings;

my $scale = shift // 1;
my (%count, @lines);
my $state = 42;
for my $i (1 .. 20000 * $scale) {
	$state = ($state * 1103515245 + 12345) % 2147483648;
	my $word = sprintf("%s%03d", join('', map { chr(97 + ($state >> $_) % 26) } 3, 7, 11),
		$state % 97);
	$count{$word}++;
	push @lines, "$i:$word" if $i % 50 == 0;
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for @top[0 .. 9];
my $text = join(',', @lines);
my $n = () = $text =~ /([a-m]+)\d(\d)/g;
print "matches $n, length ", length($text), "\n";
open(my $child, '-|', 'sort', '-r', '/dev/null') or die;
my @none = <$child>;
close($child);
print "none: ", scalar(@none), "\n";
my $undefined;
print "undefined: $undefined\n";
exit 7;
