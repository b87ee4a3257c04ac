{{/* What is wrong with what is asked of monitors, before one is rendered. */}}
{{- define "signalbox.monitors.check" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor and podMonitor are both enabled: every series would be there twice" -}}
{{- end -}}
{{- if eq (toString (dig "metrics" "enabled" true (default (dict) .Values.config))) "false" -}}
{{- fail "config.metrics.enabled is false: there is nothing for a ServiceMonitor or PodMonitor to scrape" -}}
{{- end -}}
{{- end -}}

{{/* How an endpoint of either monitor is scraped: (dict "root" $ "monitor" .Values.serviceMonitor). */}}
{{- define "signalbox.monitors.endpoint" -}}
port: metrics
path: /metrics
interval: {{ .monitor.interval }}
scrapeTimeout: {{ .monitor.scrapeTimeout }}
honorLabels: false
relabelings:
  # Whichever monitor it is: KEDA's question names this job.
  - targetLabel: job
    replacement: {{ include "signalbox.fullname" .root }}
  {{- with .root.Values.environment }}
  - targetLabel: environment
    replacement: {{ . | quote }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
