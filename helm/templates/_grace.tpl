{{/* A duration of the configuration, such as `90s`, in whole seconds, rounded up. Takes `name` and `value`. */}}
{{- define "signalbox.seconds" -}}
{{- if not (regexMatch "^[0-9]+(ms|s|m|h|d)$" (toString .value)) -}}
{{- fail (printf "%s: must be a duration like 30s or 2m, not %q, since the pod's grace period is made of it" .name (toString .value)) -}}
{{- end -}}
{{- $amount := regexFind "^[0-9]+" .value | int64 -}}
{{- $unit := regexFind "[a-z]+$" .value -}}
{{- if eq $unit "ms" -}}
{{- div (add $amount 999) 1000 -}}
{{- else -}}
{{- mul $amount (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) -}}
{{- end -}}
{{- end -}}

{{/*
How long a pod may take to end: it is out of the endpoints for `preStopSeconds`, is then told to end, serves on for the drain delay,
finishes what is open, and sends its last traces; five seconds are left for the rest. The defaults are the gateway's.
*/}}
{{- define "signalbox.graceSeconds" -}}
{{- $delay := include "signalbox.seconds" (dict "name" "config.server.drainDelay" "value" (default "5s" (.Values.config.server).drainDelay)) -}}
{{- $drain := include "signalbox.seconds" (dict "name" "config.server.drainTimeout" "value" (default "60s" (.Values.config.server).drainTimeout)) -}}
{{- $flush := include "signalbox.seconds" (dict "name" "config.tracing.flushTimeout" "value" (default "3s" (.Values.config.tracing).flushTimeout)) -}}
{{- add .Values.preStopSeconds (int $delay) (int $drain) (int $flush) 5 -}}
{{- end -}}
